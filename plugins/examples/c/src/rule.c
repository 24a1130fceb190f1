#include "rule.h"

bool settings_read(text json, settings *to, buffer *why) {
    *to = (settings){of(""), of("")};
    size_t at = 0;
    text name, value, says;
    bool whole;
    while (json_member(json, &at, &name, &value, &whole)) {
        text *setting = same(name, of("model")) ? &to->model : same(name, of("blank")) ? &to->blank : NULL;
        if (setting == NULL || !json_string(value, &says)) {
            put(why, of(setting == NULL ? "there is no setting `" : "a text without escapes is expected for `"));
            put(why, name);
            put(why, of(setting == NULL ? "`: there are `model` and `blank`" : "`"));
            return false;
        }
        *setting = says;
    }
    if (!whole) put(why, of("the settings are no JSON object"));
    return whole;
}

static void field(buffer *line, const settings *own, const char *name, text value, bool null) {
    put(line, of(line->len == 0 ? "{" : ","));
    put_json(line, of(name));
    put(line, of(":"));
    if (same(own->blank, of(name))) {
        put_json(line, of("[blanked]"));
    } else if (null) {
        put(line, of("null"));
    } else {
        put_json(line, value);
    }
}

bool line_of(const settings *own, const exchange *about, buffer *line) {
    size_t at = 0;
    text name, value, model;
    bool whole, found = false;
    while (json_member(about->question, &at, &name, &value, &whole)) {
        if (same(name, of("model"))) found = json_string(value, &model);
    }
    if (!whole || !found || (own->model.len > 0 && !same(own->model, model))) return false;
    line->len = 0;
    field(line, own, "user", about->user, !about->has_user);
    field(line, own, "url", about->url, false);
    field(line, own, "model", model, false);
    field(line, own, "question", about->question, false);
    field(line, own, "answer", about->answer, false);
    put(line, of("}\n"));
    return true;
}
