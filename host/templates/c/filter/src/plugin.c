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
    *ret = registered("{{name}}", "0.1.0", "Labels requests, and refuses some.", (rule){0});
    return true;
}

static void refuse(exports_flowgate_plugin_request_filter_local_response_t *answer) {
    flowgate_plugin_types_header_t *headers = malloc(sizeof *headers);
    if (headers == NULL) abort();
    plugin_string_t type = given(of("text/plain; charset=utf-8")), body = given(of("refused by {{name}}\n"));
    headers[0] = (flowgate_plugin_types_header_t){given(of("content-type")), {type.ptr, type.len}};
    *answer = (exports_flowgate_plugin_request_filter_local_response_t){403, {headers, 1}, {body.ptr, body.len}};
}

void exports_flowgate_plugin_request_filter_on_request(
    exports_flowgate_plugin_request_filter_own_flow_t flow,
    bool body_held,
    exports_flowgate_plugin_request_filter_request_action_t *ret
) {
    (void)body_held;
    flowgate_plugin_context_borrow_flow_t about = flowgate_plugin_context_borrow_flow(flow);
    flowgate_plugin_types_request_head_t head;
    flowgate_plugin_context_method_flow_request(about, &head);
    if (refused(&own, seen(head.path))) {
        ret->tag = EXPORTS_FLOWGATE_PLUGIN_REQUEST_FILTER_REQUEST_ACTION_ANSWER;
        refuse(&ret->val.answer);
    } else {
        plugin_string_t name = lent(of("x-label")), why;
        plugin_list_u8_t label = lent_octets(own.label);
        if (!flowgate_plugin_context_method_flow_set_header(about, FLOWGATE_PLUGIN_TYPES_DIRECTION_REQUEST, &name, &label, &why)) {
            warn("a request has no label: ", seen(why));
            plugin_string_free(&why);
        }
        ret->tag = EXPORTS_FLOWGATE_PLUGIN_REQUEST_FILTER_REQUEST_ACTION_PROCEED;
    }
    flowgate_plugin_types_request_head_free(&head);
    flowgate_plugin_context_flow_drop_own(flow);
}
