/* What is decided, apart from how the proxy is spoken to. */
#ifndef RULE_H
#define RULE_H

#include "support.h"

typedef struct {
    /* Answers of this model are kept; empty: of any. */
    text model;
    /* A field of the line whose value is blanked. */
    text blank;
} settings;

typedef struct {
    bool has_user;
    text user, url, question, answer;
} exchange;

/* Reads the settings, which go on pointing into `json`. False: `*why` says what is wrong, to be freed. */
bool settings_read(text json, settings *to, buffer *why);

/* Writes the line about an exchange; false if it is not to be kept. */
bool line_of(const settings *own, const exchange *about, buffer *line);

#endif
