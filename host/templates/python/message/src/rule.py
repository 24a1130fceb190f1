"""What is decided, apart from how the proxy is spoken to."""

import json

DEFAULTS = {"from": "secret", "to": "public"}


def settings(text):
    """The plugin's settings. A key that is not known, and a value that is no text, is an error that names it."""
    own = json.loads(text)
    for key, value in own.items():
        if key not in DEFAULTS:
            raise ValueError(f"there is no setting `{key}`: there are `from` and `to`")
        if not isinstance(value, str):
            raise ValueError(f"a text is expected for `{key}`")
    own = DEFAULTS | own
    if not own["from"]:
        raise ValueError("from: there must be a word to replace")
    return own


def replaced(own, text):
    """The text with the word replaced, or None if the word is not in it."""
    return text.replace(own["from"], own["to"]) if own["from"] in text else None
