"""What is decided, apart from how the proxy is spoken to."""

import json

DEFAULTS = {"label": "reviewed", "refuse": "/upload"}


def settings(text):
    """The plugin's settings. A key that is not known, and a value that is no text, is an error that names it."""
    own = json.loads(text)
    for key, value in own.items():
        if key not in DEFAULTS:
            raise ValueError(f"there is no setting `{key}`: there are `label` and `refuse`")
        if not isinstance(value, str):
            raise ValueError(f"a text is expected for `{key}`")
    return DEFAULTS | own


def refused(own, path):
    """Whether a request to that path is refused."""
    return own["refuse"] != "" and path.startswith(own["refuse"])
