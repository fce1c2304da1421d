"""How many results a chord waits for.

Source:
    protocol: chord size (a chain counts as its last step, a chord as its body).
"""

from typing import Any

from celeriac.canvas.compose import kind


def parts_of(sig: Any) -> int:
    """Count the results that a member of a chord's header brings.

    Args:
        sig: A signature, a dictionary of one, or a list of signatures.

    Returns:
        1 for a task; for a chain what its last step that is not empty brings, for a group what its
        members bring together, for a chord what its body brings.
    """
    if isinstance(sig, dict):
        name = kind(sig)
        inside = sig["kwargs"]
        if name == "group":
            return sum(map(parts_of, inside["tasks"]))
        if name == "chain":
            return next((n for n in map(parts_of, reversed(inside["tasks"])) if n), 0)
        if name == "chord":
            return parts_of(inside["body"])
        return 1
    return len(sig)
