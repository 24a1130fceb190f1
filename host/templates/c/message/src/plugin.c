/* How the proxy is spoken to. gen/plugin.h has all there is to call. */
#include "host.h"
#include "rule.h"

/* The settings point into this. */
static plugin_string_t config;
static settings own;

bool exports_flowgate_plugin_lifecycle_configure(plugin_string_t *given_config, registration *ret, plugin_string_t *err) {
    buffer why = {0};
    config = *given_config;
    if (!settings_read(seen(config), &own, &why)) {
        *err = given((text){why.at, why.len});
        free(why.at);
        return false;
    }
    *ret = registered("{{name}}", "0.1.0", "Replaces a word in messages.", (rule){0});
    return true;
}

void exports_flowgate_plugin_message_filter_on_message(
    exports_flowgate_plugin_message_filter_own_flow_t flow,
    exports_flowgate_plugin_message_filter_direction_t of_direction,
    exports_flowgate_plugin_message_filter_message_t *message,
    exports_flowgate_plugin_message_filter_message_action_t *ret
) {
    (void)of_direction;
    buffer with = {0};
    ret->tag = EXPORTS_FLOWGATE_PLUGIN_MESSAGE_FILTER_MESSAGE_ACTION_PASS;
    if (message->tag == EXPORTS_FLOWGATE_PLUGIN_MESSAGE_FILTER_MESSAGE_TEXT && replaced(&own, seen(message->val.text), &with)) {
        ret->tag = EXPORTS_FLOWGATE_PLUGIN_MESSAGE_FILTER_MESSAGE_ACTION_REPLACE;
        ret->val.replace.tag = EXPORTS_FLOWGATE_PLUGIN_MESSAGE_FILTER_MESSAGE_TEXT;
        ret->val.replace.val.text = (plugin_string_t){(uint8_t *)with.at, with.len};
    }
    exports_flowgate_plugin_message_filter_message_free(message);
    flowgate_plugin_context_flow_drop_own(flow);
}
