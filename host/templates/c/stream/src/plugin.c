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
    rule events = {
        .content_types = given_one("text/event-stream"),
        .response_body = EXPORTS_FLOWGATE_PLUGIN_LIFECYCLE_BODY_MODE_CHUNKS,
        .framing = EXPORTS_FLOWGATE_PLUGIN_LIFECYCLE_FRAMING_SSE_EVENTS,
    };
    *ret = registered("{{name}}", "0.1.0", "Replaces a word in events.", events);
    return true;
}

bool exports_flowgate_plugin_stream_filter_on_body_start(
    uint32_t body_id,
    exports_flowgate_plugin_stream_filter_own_flow_t flow,
    exports_flowgate_plugin_stream_filter_direction_t of_direction
) {
    (void)body_id, (void)of_direction;
    flowgate_plugin_context_flow_drop_own(flow);
    return true;
}

void exports_flowgate_plugin_stream_filter_on_chunk(
    uint32_t body_id, plugin_list_u8_t *chunk, exports_flowgate_plugin_stream_filter_chunk_action_t *ret
) {
    (void)body_id;
    buffer with = {0};
    if (replaced(&own, (text){(const char *)chunk->ptr, chunk->len}, &with)) {
        ret->tag = EXPORTS_FLOWGATE_PLUGIN_STREAM_FILTER_CHUNK_ACTION_REPLACE;
        ret->val.replace = (plugin_list_u8_t){(uint8_t *)with.at, with.len};
    } else {
        ret->tag = EXPORTS_FLOWGATE_PLUGIN_STREAM_FILTER_CHUNK_ACTION_PASS;
    }
    plugin_list_u8_free(chunk);
}

void exports_flowgate_plugin_stream_filter_on_body_end(uint32_t body_id, bool broken, plugin_list_u8_t *ret) {
    (void)body_id, (void)broken;
    *ret = (plugin_list_u8_t){NULL, 0};
}
