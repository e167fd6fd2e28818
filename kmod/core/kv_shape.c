// SPDX-License-Identifier: GPL-2.0-or-later
/* How large everything about keys is, and what there cannot be. */
#include "kv.h"

#define UNIT_KIB 4

static u64 units_of(const struct nvc_config *config)
{
	return config->blocks << config->block_shift >> SSD_UNIT_SHIFT;
}

/* Units that the largest value takes. */
static u32 largest(const struct nvc_config *config)
{
	return (config->model.kv_value + UNIT_KIB - 1) / UNIT_KIB;
}

const char *nvc_kv_problem(const struct nvc_config *config)
{
	if (units_of(config) < 2ULL * largest(config))
		return "the capacity has no room for two values of kv_value: one is kept free";
	return NULL;
}

/* A third of the index stays empty, so that keys lie near their homes. */
static int shape_index(u64 keys, struct kv_shape *s)
{
	u64 homes = keys + keys / 2 + 1;

	if (homes + KV_REACH + 1 >= SSD_NONE)
		return -ERANGE;
	s->max_keys = keys;
	s->homes = homes;
	s->slots = homes + KV_REACH + 1;
	return 0;
}

int nvc_kv_shape(const struct nvc_config *config, struct kv_shape *s)
{
	const struct nvc_model *m = &config->model;
	u64 units = units_of(config);
	struct ssd_shape ssd;
	int err = nvc_shape(config, &ssd);

	memset(s, 0, sizeof(*s));
	if (err)
		return err;
	if (nvc_kv_problem(config))
		return -EINVAL;
	s->units = units;
	s->capacity = units - largest(config);
	s->max_value = m->kv_value << 10;
	/* each Store that is not on the medium has a unit in the buffer */
	s->log = m->plp ? 0 : ssd.slots * ssd.per_program;
	return shape_index(m->kv_keys ? m->kv_keys : units, s);
}

int nvc_kv_check_config(const struct nvc_config *config)
{
	struct kv_shape shape;

	return nvc_kv_shape(config, &shape);
}
