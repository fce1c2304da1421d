"""`app.conf`: changes over what was loaded over defaults over the table."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, ClassVar

from celeriac.exceptions import ImproperlyConfigured
from celeriac.settings.check import checked
from celeriac.settings.table import BY_NAME, DEFAULTS, OLD_TO_NEW

_ENVIRONMENT = {
    "broker_url": ("CELERY_BROKER_URL",),
    "broker_read_url": ("CELERY_BROKER_READ_URL",),
    "broker_write_url": ("CELERY_BROKER_WRITE_URL",),
    "result_backend": ("CELERY_RESULT_BACKEND",),
}
# A setting of the left that is None is answered by the one on the right.
_FALLS_BACK = {
    "broker_read_url": "broker_url",
    "broker_write_url": "broker_url",
    "task_default_exchange": "task_default_queue",
    "task_default_routing_key": "task_default_queue",
    "timezone": "",
}
_MISSING: Any = object()


def new_name(key: str) -> str:
    """Translate an old upper-case name.

    Args:
        key: A setting's name, in either form; others are left as they are.

    Returns:
        The name in the table, or `key`.
    """
    return OLD_TO_NEW.get(key, key)


class Settings(MutableMapping[str, Any]):
    """The settings of an application, as attributes and as items.

    Old upper-case names (``CELERY_TASK_SERIALIZER``) read and write the same values. Keys that are
    in no table are kept as they are. ``CELERY_BROKER_URL``, ``CELERY_BROKER_READ_URL``,
    ``CELERY_BROKER_WRITE_URL`` and ``CELERY_RESULT_BACKEND`` of the environment win over all.

    Source:
        celery/app/utils.py ``Settings``.
    """

    def __init__(
        self,
        changes: Mapping[str, Any] | None = None,
        defaults: list[Mapping[str, Any]] | None = None,
        deprecated_settings: Any = None,
    ) -> None:
        state: dict[str, Any] = {
            "changes": {},
            "defaults": list(defaults or ()),
            "prefix": "",
            "version": 0,
            "deprecated_settings": deprecated_settings,
            "pending": None,
            "loaded": None,
            "memo": {},
            "lock": threading.RLock(),
            "is_loading": False,
        }
        self.__dict__.update(state)
        self.update(changes or {})

    changes: dict[str, Any]
    defaults: list[Mapping[str, Any]]
    #: Upper-case prefix of the names in the user's configuration (``CELERY_``).
    prefix: str
    #: Counts changes, so that who has derived something from settings knows when to derive anew.
    version: int
    #: Called at each change of any settings, for who does not want to compare `version`.
    watchers: ClassVar[list[Callable[[], None]]] = []
    #: Loads the configuration; called once, when the first setting is read.
    pending: Callable[[], None] | None
    loaded: Mapping[str, Any] | None
    #: Values that were read since the last change: a publish reads ten of them.
    memo: dict[str, Any]
    lock: threading.RLock
    is_loading: bool

    def resolve(self) -> None:
        """Load the configuration, if that was put off; other threads wait until it is there."""
        if self.pending is None:
            return
        with self.lock:
            load = self.__dict__["pending"]
            # What is read while the configuration loads (by a receiver of `on_configure`) finds
            # what is set so far.
            if load is None or self.is_loading:
                return
            self.__dict__["is_loading"] = True
            try:
                # Left pending if it fails: the next read says again what is wrong.
                load()
                self.__dict__["pending"] = None
            finally:
                self.__dict__["is_loading"] = False
                self.touch()

    def reset(self, load: Callable[[], None]) -> None:
        """Forget the configuration that was loaded, and have another loaded when needed."""
        if self.loaded is not None:
            self.defaults.remove(self.loaded)
        self.__dict__.update(loaded=None, pending=load)
        self.touch()

    def _lookup(self, key: str) -> Any:
        try:
            return self.memo[key]
        except KeyError:
            value = self._search(key)
        if value is not _MISSING and not self.is_loading and new_name(key) not in _ENVIRONMENT:
            self.memo[key] = value
        return value

    def _search(self, key: str) -> Any:
        if self.pending is not None:
            self.resolve()
        name = new_name(key)
        for variable in _ENVIRONMENT.get(name, ()):
            if os.environ.get(variable):
                return os.environ[variable]
        for layer in (self.changes, *self.defaults, DEFAULTS):
            if name in layer:
                value = layer[name]
                break
        else:
            return self._lookup_prefixed(key)
        if value is None and _FALLS_BACK.get(name):
            return self._lookup(_FALLS_BACK[name])
        return value

    def _lookup_prefixed(self, key: str) -> Any:
        if self.prefix and key.startswith(self.prefix):
            return self._lookup(key[len(self.prefix) :].lower())
        lowered = key.lower()
        return self._lookup(lowered) if lowered != key else _MISSING

    def __getitem__(self, key: str) -> Any:
        value = self._lookup(key)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        name = new_name(key)
        self.changes[name] = checked(name, value)
        self.touch()

    def __delitem__(self, key: str) -> None:
        del self.changes[new_name(key)]
        self.touch()

    def __getattr__(self, key: str) -> Any:
        try:
            return self.__dict__["memo"][key]
        except KeyError:
            value = _MISSING if key.startswith("__") else self._lookup(key)
        if value is _MISSING:
            message = f"{type(self).__name__!r} object has no attribute {key!r}"
            raise AttributeError(message)
        return value

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._lookup(key) is not _MISSING

    def __iter__(self) -> Iterator[str]:
        self.resolve()
        seen: dict[str, None] = {}
        for layer in (DEFAULTS, *reversed(self.defaults), self.changes):
            seen.update(dict.fromkeys(layer))
        return iter(seen)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Settings({self.humanize(with_defaults=False)!r})"

    def touch(self) -> None:
        """Tell whoever derived something from the settings that they have changed."""
        self.__dict__["version"] += 1
        self.memo.clear()
        for tell in self.watchers:
            tell()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set many at once."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def add_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Put a layer of defaults directly above the table's."""
        self.defaults.append({new_name(key): value for key, value in defaults.items()})
        self.touch()

    def load(self, config: Mapping[str, Any], namespace: str | None = None) -> None:
        """Put what a configuration module says above all defaults.

        Args:
            config: Names and values, of which only settings are taken (see `read_config`).
            namespace: The common prefix of its names (``CELERY``).
        """
        if namespace:
            self.__dict__["prefix"] = namespace.rstrip("_") + "_"
        self.__dict__["loaded"] = loaded = read_config(config, namespace)
        self.defaults.insert(0, loaded)
        self.touch()

    def first(self, *keys: str) -> Any:
        """Return the first value that is not None.

        Returns:
            The value; None if there is none.
        """
        return next((value for key in keys if (value := self.get(key)) is not None), None)

    def get_by_parts(self, *parts: str) -> Any:
        """Look a name up by its parts.

        Returns:
            The value of ``"_".join(parts)``.
        """
        return self["_".join(part for part in parts if part)]

    def find_option(self, name: str, namespace: str = "") -> tuple[str, str, Any]:
        """Find a setting by its name or the part after its prefix.

        Returns:
            The prefix, the rest of the name, and the row of the table.

        Raises:
            KeyError: There is none.
        """
        for candidate in (new_name(name.upper()), name.lower(), f"{namespace}_{name}".lower()):
            if candidate in BY_NAME:
                prefix, _, rest = candidate.partition("_")
                return prefix, rest, BY_NAME[candidate]
        for setting in BY_NAME.values():
            prefix, _, rest = setting.name.partition("_")
            if rest == name.lower():
                return prefix, rest, setting
        raise KeyError(name)

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """Look a setting up by its name or the part after its prefix.

        Returns:
            The value.
        """
        _, _, setting = self.find_option(name, namespace)
        return self[setting.name]

    def is_set(self, key: str) -> bool:
        """Say whether the user gave a value.

        Returns:
            Whether any layer above the table has one (None does not count).
        """
        self.resolve()
        name = new_name(key)
        if any(os.environ.get(variable) for variable in _ENVIRONMENT.get(name, ())):
            return True
        return any(layer.get(name) is not None for layer in (self.changes, *self.defaults))

    value_set_for = is_set

    def without_defaults(self) -> dict[str, Any]:
        """List what is set.

        Returns:
            Names and values of all layers above the table.
        """
        self.resolve()
        merged: dict[str, Any] = {}
        for layer in (*reversed(self.defaults), self.changes):
            merged.update(layer)
        return merged

    def table(
        self,
        with_defaults: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        censored: bool = True,  # noqa: FBT001, FBT002
    ) -> dict[str, Any]:
        """List the settings.

        Args:
            with_defaults: Whether to list those that are not set, too.
            censored: Whether to hide what is secret.

        Returns:
            Names and values.
        """
        values = dict(self) if with_defaults else self.without_defaults()
        shown = {k: v for k, v in values.items() if not k.startswith("_")}
        return censor(shown) if censored else shown

    def humanize(
        self,
        with_defaults: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        censored: bool = True,  # noqa: FBT001, FBT002
    ) -> str:
        """List the settings as text.

        Returns:
            A line ``name: repr`` for each (see `table`).
        """
        rows = self.table(with_defaults, censored)
        return "\n".join(f"{key}: {value!r}" for key, value in rows.items())

    def copy(self) -> Settings:
        """Copy the settings.

        Returns:
            Settings that change apart from these.
        """
        return Settings(dict(self.changes), list(self.defaults))

    def __reduce__(self) -> tuple[Any, ...]:
        return Settings, (self.changes, self.defaults)


_SECRET = re.compile(
    r"API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE", re.IGNORECASE
)
_NOT_SECRET = re.compile(r"routing_key|exchange|global_keyprefix", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^@/\s]*(@)")
_MASK = "********"


def censor(values: Mapping[str, Any]) -> dict[str, Any]:
    """Hide secrets: values of keys that look secret, and passwords in URLs.

    Returns:
        A copy.
    """
    return {key: _censored(key, value) for key, value in values.items()}


def _censored(key: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return censor(value)
    if isinstance(key, str) and _SECRET.search(key) and not _NOT_SECRET.search(key):
        return _MASK if value else value
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1{_MASK}\2", value)
    if type(value) in {list, tuple}:
        return type(value)(_censored(None, item) for item in value)
    return value


def read_config(config: Mapping[str, Any], namespace: str | None = None) -> dict[str, Any]:
    """Take the settings out of a configuration module's names.

    Args:
        config: Its names and values.
        namespace: If given, names are ``<NAMESPACE>_<NEW NAME>``, in upper case; others are kept
            under their own name, so that packages can read theirs.

    Returns:
        Values by new name.

    Mixed old and new names, or a value of a wrong type, end in ImproperlyConfigured.
    """
    public = {key: value for key, value in config.items() if not key.startswith("_")}
    if namespace:
        prefix = namespace.rstrip("_") + "_"
        public = {_strip(key, prefix): value for key, value in public.items()}
    else:
        _refuse_mixed(public)
        public = {new_name(key): value for key, value in public.items()}
    return {key: checked(key, value) for key, value in public.items()}


def _strip(key: str, prefix: str) -> str:
    if not key.upper().startswith(prefix.upper()):
        return key
    return key[len(prefix) :].lower()


def _refuse_mixed(config: Mapping[str, Any]) -> None:
    new = [key for key in config if key in BY_NAME]
    old = [key for key in config if key in OLD_TO_NEW]
    if not new or not old:
        return
    to_old = {setting.name: setting.old_name for setting in BY_NAME.values()}
    to_new, kind = (True, "new") if len(old) <= len(new) else (False, "old")
    wrong = old if to_new else new
    names = ", ".join(f"{key} -> {OLD_TO_NEW[key] if to_new else to_old[key]}" for key in wrong)
    message = f"Old and new names of settings are mixed. Write all in the {kind} form: {names}."
    raise ImproperlyConfigured(message)
