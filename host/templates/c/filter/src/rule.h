/* What is decided, apart from how the proxy is spoken to. */
#ifndef RULE_H
#define RULE_H

#include "support.h"

typedef struct {
    /* What the field `x-label` says. */
    text label;
    /* Requests to paths that begin so are refused; empty: none. */
    text refuse;
} settings;

/* Reads the settings, which go on pointing into `json`. False: `*why` says what is wrong, to be freed. */
bool settings_read(text json, settings *to, buffer *why);

/* Whether a request to that path is refused. */
bool refused(const settings *own, text path);

#endif
