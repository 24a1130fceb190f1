/* What is decided, apart from how the proxy is spoken to. */
#ifndef RULE_H
#define RULE_H

#include "support.h"

typedef struct {
    text from, to;
} settings;

/* Reads the settings, which go on pointing into `json`. False: `*why` says what is wrong, to be freed. */
bool settings_read(text json, settings *to, buffer *why);

/* Writes what the octets are with the word replaced; false if it is not in them. */
bool replaced(const settings *own, text what, buffer *with);

#endif
