/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a medium is made of and how fast it is: the rows of model.def, as a structure. */
#ifndef NVC_MODEL_H
#define NVC_MODEL_H

#include "nvc_types.h"

#define NVC_PARAM(name, low, high, initial, live, unit, what) u32 name;
/** struct nvc_model - see model.def for each field; a kind uses what concerns it */
struct nvc_model {
#include "model.def"
};

#undef NVC_PARAM

/**
 * struct nvc_param - one field of struct nvc_model
 * @name: of the field
 * @unit: of its numbers, "" for a plain count or a switch
 * @what: it says, in a few words
 * @offset: of the field, in bytes
 * @low: least value
 * @high: largest value
 * @initial: value that nobody asked for
 * @live: 1 if nvc_set_model() may change it, else 0
 */
struct nvc_param {
	const char *name;
	const char *unit;
	const char *what;
	u32 offset;
	u32 low;
	u32 high;
	u32 initial;
	u32 live;
};

/**
 * nvc_param() - the table of parameters
 * @index: from 0
 *
 * Return: a row, or NULL past the last.
 */
const struct nvc_param *nvc_param(u32 index);

/**
 * nvc_model_default() - every parameter at its initial value
 * @model: filled in
 */
void nvc_model_default(struct nvc_model *model);

#endif
