/* cc -Isrc tests/test_rule.c src/rule.c -o /tmp/test-rule && /tmp/test-rule */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>

#include "rule.h"

int main(void) {
    settings own;
    buffer with = {0}, why = {0};
    assert(settings_read(of("{}"), &own, &why));
    assert(replaced(&own, of("a secret, a secret!"), &with));
    assert(same((text){with.at, with.len}, of("a public, a public!")));
    assert(!replaced(&own, of("nothing"), &with));

    assert(!settings_read(of("{\"form\": \"x\"}"), &own, &why));
    assert(begins((text){why.at, why.len}, of("there is no setting `form`")));
    why.len = 0;
    assert(!settings_read(of("{\"from\": \"a\\nb\"}"), &own, &why));
    assert(begins((text){why.at, why.len}, of("a text without escapes is expected for `from`")));
    puts("all is well");
}
