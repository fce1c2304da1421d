"""The part of a result backend that joins chords.

Source:
    celery/backends/base.py (names of methods); protocol: chord completion.
"""

from __future__ import annotations

from typing import Any

from celeriac.timestamps import seconds

WAIT_S = 10.0


class JoinsChords:
    """Counts the parts of chords in the store's own operation, or lets a task look for them."""

    def ensure_chords_allowed(self) -> None:
        """Raise an error where chords cannot be joined."""

    @property
    def joins_in_order(self: Any) -> bool:
        """Whether a chord's results come by position, not in the order in which they came."""
        options = self.app.conf.result_backend_transport_options or {}
        return bool(options.get("result_chord_ordered", True))

    @property
    def chord_expires_s(self: Any) -> int | None:
        """How long a chord is kept, in whole seconds; None for ever."""
        own = seconds(self.app.conf.result_chord_expires)
        expires = own if own is not None else seconds(self.expires)
        return int(expires) if expires else None

    @property
    def content(self: Any) -> tuple[str, str]:
        """Content type and encoding of what is stored."""
        return self.content_type, self.content_encoding

    def apply_chord(self: Any, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Prepare the join of a chord; called before its header is sent.

        Args:
            header_result_args: The group's id, and handles to the header's results.
            body: The body.
            **kwargs: ``interval``, ``countdown`` (seconds) and ``max_retries`` of the task that
                looks for the results, where the store cannot join.
        """
        self.ensure_chords_allowed()
        group = self.app.GroupResult(*header_result_args)
        if self.native is None or not self.native.has_chords:
            self.fallback_chord_unlock(group, body, **kwargs)
        elif any(result.children_are_members for result in group.results):
            # The parts do not tell which of them make a list in the list.
            self.save_group(group.id, group)

    def set_chord_size(self: Any, group_id: str, chord_size: int) -> None:
        """Say how many parts a chord waits for; called before its last part is sent."""
        native = self.native
        if native is not None and native.has_chords:
            native.set_chord_size(group_id, chord_size, self.chord_expires_s, WAIT_S)

    def add_to_chord(self: Any, chord_id: str, result: Any) -> None:
        """Let a chord wait for one more part.

        Args:
            chord_id: The group's id.
            result: A handle to its result.

        Raises:
            NotImplementedError: The store cannot.
        """
        del result
        native = self.native
        if native is None or not native.has_chords:
            message = f"{type(self).__name__} cannot add to a chord that runs."
            raise NotImplementedError(message)
        native.add_to_chord(chord_id, 1, self.chord_expires_s, WAIT_S)

    def fallback_chord_unlock(
        self: Any, header_result: Any, body: Any, countdown: float = 1, **kwargs: Any
    ) -> None:
        """Send the task that looks for a header's results again and again.

        Args:
            header_result: A `GroupResult`.
            body: The body.
            countdown: Seconds until it looks first.
            **kwargs: ``interval`` and ``max_retries`` of it.
        """
        own = {"queue": body.options.get("queue"), "priority": body.options.get("priority")}
        self.app.tasks["celery.chord_unlock"].apply_async(
            (header_result.id, body),
            {
                "interval": kwargs.get("interval"),
                "max_retries": kwargs.get("max_retries"),
                "result": [result.as_tuple() for result in header_result.results],
            },
            countdown=countdown,
            **{key: value for key, value in own.items() if value is not None},
        )
