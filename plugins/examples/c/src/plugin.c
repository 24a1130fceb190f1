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
    rule chats = {
        .methods = given_one("POST"),
        .paths = given_one("*/chat/completions*"),
        .request_body = EXPORTS_FLOWGATE_PLUGIN_LIFECYCLE_BODY_MODE_CAPTURE,
        .response_body = EXPORTS_FLOWGATE_PLUGIN_LIFECYCLE_BODY_MODE_CAPTURE,
    };
    *ret = registered("keep-chat", "0.1.0", "Keeps chat answers of one model, a field blanked.", chats);
    return true;
}

static void keep(text line) {
    plugin_string_t path = lent(of("answers.jsonl"));
    plugin_list_u8_t data = lent_octets(line);
    flowgate_plugin_records_error_t error;
    if (!flowgate_plugin_records_keep(&path, &data, FLOWGATE_PLUGIN_RECORDS_WRITE_MODE_APPEND, &error)) {
        bool says = error.tag != FLOWGATE_PLUGIN_RECORDS_ERROR_OVERLOADED;
        warn("an answer was not kept: ", says ? seen(error.val.other) : of("the queue of records stayed full"));
        flowgate_plugin_records_error_free(&error);
    }
}

void exports_flowgate_plugin_observer_on_flow_end(exports_flowgate_plugin_observer_own_flow_t flow) {
    flowgate_plugin_context_borrow_flow_t about = flowgate_plugin_context_borrow_flow(flow);
    flowgate_plugin_types_client_info_t client;
    plugin_string_t url, question, answer;
    flowgate_plugin_context_method_flow_client(about, &client);
    flowgate_plugin_context_method_flow_url(about, &url);
    flowgate_plugin_context_method_flow_body_text(about, FLOWGATE_PLUGIN_TYPES_DIRECTION_REQUEST, &question);
    flowgate_plugin_context_method_flow_body_text(about, FLOWGATE_PLUGIN_TYPES_DIRECTION_RESPONSE, &answer);

    exchange ended = {client.user.is_some, seen(client.user.val), seen(url), seen(question), seen(answer)};
    buffer line = {0};
    if (line_of(&own, &ended, &line)) keep((text){line.at, line.len});

    free(line.at);
    flowgate_plugin_types_client_info_free(&client);
    plugin_string_free(&url);
    plugin_string_free(&question);
    plugin_string_free(&answer);
    flowgate_plugin_context_flow_drop_own(flow);
}
