"""What is decided, apart from how the proxy is spoken to."""

import json

BLANKED = "[blanked]"
"""What stands in the place of what is blanked."""

DEFAULTS = {"model": "", "blank": ""}


def settings(text):
    """The plugin's settings. A key that is not known, and a value that is no text, is an error that names it."""
    own = json.loads(text)
    for key, value in own.items():
        if key not in DEFAULTS:
            raise ValueError(f"there is no setting `{key}`: there are `model` and `blank`")
        if not isinstance(value, str):
            raise ValueError(f"a text is expected for `{key}`")
    return DEFAULTS | own


def line(own, user, url, question, answer):
    """The line about an exchange, or None if it is not to be kept."""
    try:
        model = json.loads(question)["model"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(model, str) or (own["model"] and own["model"] != model):
        return None
    line = {"user": user, "url": url, "model": model, "question": question, "answer": answer}
    if own["blank"] in line:
        line[own["blank"]] = BLANKED
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
