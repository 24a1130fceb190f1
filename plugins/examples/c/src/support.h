/* What C needs of strings and JSON to speak to the proxy. Knows neither; tested natively with the rule. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Octets somebody else owns. */
typedef struct {
    const char *at;
    size_t len;
} text;

static inline text of(const char *string) { return (text){string, strlen(string)}; }

static inline bool same(text one, text other) { return one.len == other.len && (one.len == 0 || memcmp(one.at, other.at, one.len) == 0); }

static inline bool begins(text whole, text beginning) {
    return whole.len >= beginning.len && (beginning.len == 0 || memcmp(whole.at, beginning.at, beginning.len) == 0);
}

/* Octets that grow; `free(buffer.at)` when done. Running out of memory traps, which costs this call only. */
typedef struct {
    char *at;
    size_t len, room;
} buffer;

static inline void put(buffer *to, text what) {
    if (to->len + what.len > to->room) {
        to->room = (to->len + what.len) * 2 + 64;
        to->at = realloc(to->at, to->room);
        if (to->at == NULL) abort();
    }
    if (what.len > 0) memcpy(to->at + to->len, what.at, what.len);
    to->len += what.len;
}

/* As a string of JSON. */
static inline void put_json(buffer *to, text what) {
    static const char hex[] = "0123456789abcdef";
    put(to, of("\""));
    for (size_t i = 0; i < what.len; i++) {
        unsigned char one = (unsigned char)what.at[i];
        char escaped[6] = {'\\', 0, '0', '0', 0, 0};
        size_t len = 2;
        switch (one) {
        case '"': escaped[1] = '"'; break;
        case '\\': escaped[1] = '\\'; break;
        case '\b': escaped[1] = 'b'; break;
        case '\f': escaped[1] = 'f'; break;
        case '\n': escaped[1] = 'n'; break;
        case '\r': escaped[1] = 'r'; break;
        case '\t': escaped[1] = 't'; break;
        default:
            if (one < 0x20) {
                escaped[1] = 'u', escaped[4] = hex[one >> 4], escaped[5] = hex[one & 15], len = 6;
            } else {
                escaped[0] = (char)one, len = 1;
            }
        }
        put(to, (text){escaped, len});
    }
    put(to, of("\""));
}

/* Past white space. */
static inline size_t json_space(text json, size_t at) {
    while (at < json.len && strchr(" \t\r\n", json.at[at]) != NULL) at++;
    return at;
}

/* Past a value that begins at `at`; 0 if there is none. */
static inline size_t json_value(text json, size_t at) {
    size_t depth = 0;
    while (at < json.len) {
        char one = json.at[at];
        if (one == '"') {
            for (at++; at < json.len && json.at[at] != '"'; at++) {
                if (json.at[at] == '\\') at++;
            }
            if (at >= json.len) return 0;
            at++;
        } else if (one == '{' || one == '[') {
            depth++, at++;
            continue;
        } else if (one == '}' || one == ']') {
            if (depth == 0) return 0;
            depth--, at++;
        } else if (depth > 0 && strchr(",: \t\r\n", one) != NULL) {
            at++;
            continue;
        } else if (one == ',' || one == ':') {
            return 0;
        } else {
            while (at < json.len && strchr(",:]} \t\r\n", json.at[at]) == NULL) at++;
        }
        if (depth == 0) return at;
    }
    return 0;
}

/* Goes on to the next member of a JSON object; `at` begins as 0. Says the name as it is written, and where the value is. False at the end, and
   where it is no object; then `*whole` says whether the text was an object to its end. */
static inline bool json_member(text json, size_t *at, text *name, text *value, bool *whole) {
    *whole = false;
    size_t here = json_space(json, *at);
    bool first = *at == 0;
    if (first) {
        if (here >= json.len || json.at[here] != '{') return false;
        here = json_space(json, here + 1);
    }
    if (here < json.len && json.at[here] == '}') {
        *whole = json_space(json, here + 1) == json.len;
        return false;
    }
    if (!first) {
        if (here >= json.len || json.at[here] != ',') return false;
        here = json_space(json, here + 1);
    }
    if (here >= json.len || json.at[here] != '"') return false;
    size_t end = json_value(json, here);
    if (end == 0) return false;
    *name = (text){json.at + here + 1, end - here - 2};
    here = json_space(json, end);
    if (here >= json.len || json.at[here] != ':') return false;
    here = json_space(json, here + 1);
    end = json_value(json, here);
    if (end == 0) return false;
    *value = (text){json.at + here, end - here};
    *at = end;
    return true;
}

/* What a string of JSON without escapes says; false for any other value. */
static inline bool json_string(text value, text *says) {
    if (value.len < 2 || value.at[0] != '"' || memchr(value.at, '\\', value.len) != NULL) return false;
    *says = (text){value.at + 1, value.len - 2};
    return true;
}

#endif
