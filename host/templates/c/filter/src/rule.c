#include "rule.h"

bool settings_read(text json, settings *to, buffer *why) {
    *to = (settings){of("reviewed"), of("/upload")};
    size_t at = 0;
    text name, value, says;
    bool whole;
    while (json_member(json, &at, &name, &value, &whole)) {
        text *setting = same(name, of("label")) ? &to->label : same(name, of("refuse")) ? &to->refuse : NULL;
        if (setting == NULL || !json_string(value, &says)) {
            put(why, of(setting == NULL ? "there is no setting `" : "a text without escapes is expected for `"));
            put(why, name);
            put(why, of(setting == NULL ? "`: there are `label` and `refuse`" : "`"));
            return false;
        }
        *setting = says;
    }
    if (!whole) put(why, of("the settings are no JSON object"));
    return whole;
}

bool refused(const settings *own, text path) { return own->refuse.len > 0 && begins(path, own->refuse); }
