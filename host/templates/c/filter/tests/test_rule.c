/* cc -Isrc tests/test_rule.c src/rule.c -o /tmp/test-rule && /tmp/test-rule */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>

#include "rule.h"

int main(void) {
    settings own;
    buffer why = {0};
    assert(settings_read(of("{}"), &own, &why));
    assert(refused(&own, of("/upload/a")) && !refused(&own, of("/v1/models")));
    assert(settings_read(of("{\"refuse\": \"\"}"), &own, &why) && !refused(&own, of("/upload/a")));

    assert(!settings_read(of("{\"labl\": \"x\"}"), &own, &why));
    assert(begins((text){why.at, why.len}, of("there is no setting `labl`")));
    why.len = 0;
    assert(!settings_read(of("{\"label\": \"a\\nb\"}"), &own, &why));
    assert(begins((text){why.at, why.len}, of("a text without escapes is expected for `label`")));
    puts("all is well");
}
