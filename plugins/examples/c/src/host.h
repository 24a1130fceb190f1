/* Handing texts to the proxy and back. What a hook is given is the plugin's to free; what it returns is freed for it. */
#ifndef HOST_H
#define HOST_H

#include "plugin.h"
#include "support.h"

static inline text seen(plugin_string_t string) { return (text){(const char *)string.ptr, string.len}; }

/* Lent for the time of a call. */
static inline plugin_string_t lent(text what) { return (plugin_string_t){(uint8_t *)what.at, what.len}; }

static inline plugin_list_u8_t lent_octets(text what) { return (plugin_list_u8_t){(uint8_t *)what.at, what.len}; }

/* A copy that is given away. */
static inline plugin_string_t given(text what) {
    plugin_string_t copy;
    plugin_string_dup_n(&copy, what.at, what.len);
    return copy;
}

/* The same in a list of one. */
static inline plugin_list_string_t given_one(const char *what) {
    plugin_string_t *one = malloc(sizeof *one);
    if (one == NULL) abort();
    *one = given(of(what));
    return (plugin_list_string_t){one, 1};
}

static inline void warn(const char *what, text why) {
    buffer line = {0};
    put(&line, of(what));
    put(&line, why);
    plugin_string_t message = lent((text){line.at, line.len});
    flowgate_plugin_log_write(FLOWGATE_PLUGIN_LOG_LEVEL_WARN, &message);
    free(line.at);
}

typedef exports_flowgate_plugin_lifecycle_rule_t rule;
typedef exports_flowgate_plugin_lifecycle_registration_t registration;

/* The registration of a plugin with that one rule. */
static inline registration registered(const char *name, const char *version, const char *description, rule only) {
    rule *rules = malloc(sizeof *rules);
    if (rules == NULL) abort();
    *rules = only;
    return (registration){
        .name = given(of(name)),
        .version = given(of(version)),
        .description = given(of(description)),
        .rules = {rules, 1},
        .instances = EXPORTS_FLOWGATE_PLUGIN_LIFECYCLE_INSTANCE_MODE_POOLED,
    };
}

#endif
