#include "rule.h"

bool settings_read(text json, settings *to, buffer *why) {
    *to = (settings){of("secret"), of("public")};
    size_t at = 0;
    text name, value, says;
    bool whole;
    while (json_member(json, &at, &name, &value, &whole)) {
        text *setting = same(name, of("from")) ? &to->from : same(name, of("to")) ? &to->to : NULL;
        if (setting == NULL || !json_string(value, &says)) {
            put(why, of(setting == NULL ? "there is no setting `" : "a text without escapes is expected for `"));
            put(why, name);
            put(why, of(setting == NULL ? "`: there are `from` and `to`" : "`"));
            return false;
        }
        *setting = says;
    }
    if (!whole) put(why, of("the settings are no JSON object"));
    if (to->from.len == 0) put(why, of("from: there must be a word to replace"));
    return whole && to->from.len > 0;
}

bool replaced(const settings *own, text what, buffer *with) {
    size_t after = 0;
    for (size_t at = 0; at + own->from.len <= what.len;) {
        if (what.at[at] == own->from.at[0] && begins((text){what.at + at, what.len - at}, own->from)) {
            put(with, (text){what.at + after, at - after});
            put(with, own->to);
            after = at += own->from.len;
        } else {
            at++;
        }
    }
    if (after > 0) put(with, (text){what.at + after, what.len - after});
    return after > 0;
}
