// SPDX-License-Identifier: GPL-2.0-or-later
/* How large everything about zones is, and what there cannot be. */
#include "zns.h"

#define UNIT_KIB 4
#define KIB_SECTORS 2

/* Of the capacity that has no zones, bytes. */
u64 nvc_zns_conventional(const struct nvc_config *config)
{
	return config->kind == NVC_ZNS ? (u64)config->model.zone_conventional << 20 : 0;
}

/* Where the zoned namespace begins: namespaces begin at a multiple of 1 << NVC_NS_SHIFT. */
static u64 zoned_start(const struct nvc_config *config)
{
	u64 grain = 1ULL << NVC_NS_SHIFT;

	return (nvc_zns_conventional(config) + grain - 1) & ~(grain - 1);
}

static bool power_of_two(u32 value)
{
	return !(value & (value - 1));
}

static u32 capacity_kib(const struct nvc_model *m)
{
	return m->zone_capacity ? m->zone_capacity : m->zone_size;
}

static u32 dies_of(const struct nvc_model *m)
{
	return m->zone_dies ? m->zone_dies : m->channels * m->dies;
}

static u64 count_zones(const struct nvc_config *config)
{
	u64 bytes = config->blocks << config->block_shift;
	u64 start = zoned_start(config);

	return start < bytes ? nvc_div((bytes - start) >> 10, config->model.zone_size) : 0;
}

/* Linux takes no other zones; see nvme_update_zone_info() and blk_validate_zoned_limits(). */
static const char *zone_problem(const struct nvc_model *m)
{
	if (!power_of_two(m->zone_size))
		return "zone_size is not a power of two: Linux takes no other zones";
	if (capacity_kib(m) > m->zone_size)
		return "zone_capacity is larger than zone_size";
	if (capacity_kib(m) % UNIT_KIB)
		return "zone_capacity is not a multiple of 4 KiB";
	if (m->zone_max_active && m->zone_max_open > m->zone_max_active)
		return "zone_max_open is larger than zone_max_active: open zones are active";
	/* ZASL is its exponent, in units of 4 KiB, and 0 says that there is no limit */
	if (m->zone_append && (!power_of_two(m->zone_append) || m->zone_append < 2 * UNIT_KIB))
		return "zone_append is not a power of two from 8 KiB on";
	if (m->channels * m->dies % dies_of(m))
		return "zone_dies does not divide the dies of all channels";
	return NULL;
}

static const char *zrwa_problem(const struct nvc_model *m)
{
	if (!m->zrwa_zones)
		return NULL;
	if (!m->zrwa_size || !m->zrwa_flush)
		return "zrwa_zones needs a zrwa_size and a zrwa_flush";
	if (m->zrwa_flush % UNIT_KIB)
		return "zrwa_flush is not a multiple of 4 KiB";
	if (m->zrwa_size % m->zrwa_flush)
		return "zrwa_size is not a multiple of zrwa_flush";
	if (m->zrwa_size > capacity_kib(m))
		return "zrwa_size is larger than zone_capacity";
	if (capacity_kib(m) % m->zrwa_flush)
		return "zone_capacity is not a multiple of zrwa_flush";
	if (m->zone_max_active && m->zrwa_zones > m->zone_max_active)
		return "zrwa_zones is larger than zone_max_active: they are active";
	return NULL;
}

const char *nvc_zns_problem(const struct nvc_config *config)
{
	const char *problem = zone_problem(&config->model);

	if (problem)
		return problem;
	problem = zrwa_problem(&config->model);
	if (problem)
		return problem;
	if (!count_zones(config))
		return "the capacity less zone_conventional has no room for a zone of zone_size";
	return NULL;
}

static u32 ceil_div(u64 dividend, u32 divisor)
{
	return nvc_div(dividend + divisor - 1, divisor);
}

/* What follows from the SSD's own shape. */
static void shape_words(const struct nvc_model *m, const struct ssd_shape *ssd,
			struct zns_shape *s)
{
	s->dies = dies_of(m);
	s->groups = ssd->dies / s->dies;
	s->lanes = s->dies * (m->planes / ssd->together);
	s->word = ssd->per_program * SSD_UNIT_SECTORS;
	s->words = ceil_div(s->capacity, s->word);
	s->rows = m->pages ? m->pages / m->program_pages : ceil_div(s->words, s->lanes);
	s->units = s->words * ssd->per_program;
	s->base = ssd->lines * ssd->per_line;
	s->queue = nvc_max(1, (m->zone_buffer / UNIT_KIB) / ssd->per_program);
	if (!m->zone_buffer)
		s->queue = ssd->slots;
}

static void shape_limits(const struct nvc_model *m, struct zns_shape *s)
{
	s->max_active = m->zone_max_active ? nvc_min(m->zone_max_active, s->zones) : s->zones;
	s->max_open = m->zone_max_open ? nvc_min(m->zone_max_open, s->max_active) : s->max_active;
	s->append = m->zone_append * KIB_SECTORS;
	s->extension = m->zone_extension * NVC_ZONE_DESCRIPTOR;
	s->max_zrwas = m->zrwa_zones;
	s->zrwa = m->zrwa_size * KIB_SECTORS;
	s->flush = m->zrwa_flush * KIB_SECTORS;
}

int nvc_zns_shape(const struct nvc_config *config, struct zns_shape *s)
{
	const struct nvc_model *m = &config->model;
	u64 zones = count_zones(config);
	struct ssd_shape ssd;
	int err = nvc_shape(config, &ssd);

	if (err)
		return err;
	memset(s, 0, sizeof(*s));
	s->start = zoned_start(config) >> NVC_MIN_BLOCK_SHIFT;
	s->shift = __builtin_ctz(m->zone_size * KIB_SECTORS);
	s->capacity = capacity_kib(m) * KIB_SECTORS;
	shape_words(m, &ssd, s);
	if (zones * s->units >= SSD_NONE - s->base)
		return -ERANGE;
	s->zones = zones;
	shape_limits(m, s);
	return 0;
}

int nvc_zns_check(const struct nvc_config *config)
{
	struct zns_shape shape;

	return nvc_zns_problem(config) ? -EINVAL : nvc_zns_shape(config, &shape);
}
