// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of parameters. */
#include "internal.h"

#define NVC_PARAM(name_, low_, high_, initial_, live_, unit_, what_) { \
	.name = #name_, \
	.unit = (unit_), \
	.what = (what_), \
	.offset = offsetof(struct nvc_model, name_), \
	.low = (low_), \
	.high = (high_), \
	.initial = (initial_), \
	.live = (live_), \
},

static const struct nvc_param params[] = {
#include "model.def"
};

#undef NVC_PARAM

const struct nvc_param *nvc_param(u32 index)
{
	return index < ARRAY_SIZE(params) ? &params[index] : NULL;
}

/* Field @index of a structure that has nothing but u32. */
static u32 value(const struct nvc_model *model, u32 index)
{
	return ((const u32 *)model)[params[index].offset / sizeof(u32)];
}

void nvc_model_default(struct nvc_model *model)
{
	u32 i;

	for (i = 0; nvc_param(i); i++)
		((u32 *)model)[params[i].offset / sizeof(u32)] = params[i].initial;
}

int nvc_model_check(const struct nvc_model *model)
{
	u32 i;

	for (i = 0; nvc_param(i); i++)
		if (value(model, i) < params[i].low || value(model, i) > params[i].high)
			return -ERANGE;
	return 0;
}

int nvc_model_check_live(const struct nvc_model *from, const struct nvc_model *to)
{
	u32 i;

	for (i = 0; nvc_param(i); i++)
		if (!params[i].live && value(from, i) != value(to, i))
			return -EBUSY;
	return nvc_model_check(to);
}
