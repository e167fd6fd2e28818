// SPDX-License-Identifier: GPL-2.0-or-later
/* How large everything in an SSD is, and where its parts lie in memory. */
#include "zns.h"

#define MAX_LINE_UNITS 0x1000000
#define MAX_LINES 0x100000
/* Beyond the buffer, so that no part of a write that must not be torn is gone. */
#define WHOLE_UNITS 257

static u64 ceil_div(u64 dividend, u32 divisor)
{
	return nvc_div(dividend + divisor - 1, divisor);
}

static void shape_lanes(const struct nvc_model *m, struct ssd_shape *s)
{
	s->together = m->multi_plane ? m->planes : 1;
	s->dies = m->channels * m->dies;
	s->lanes = s->dies * (m->planes / s->together);
	s->lane_words = ceil_div(s->lanes, 64);
	s->per_page = (m->page_size >> SSD_UNIT_SHIFT) * s->together;
	s->per_program = s->per_page * m->program_pages;
}

/*
 * Pages of the map may fill a quarter of each of their lines, if half of its blocks
 * are bad a half: whatever lines there are, collecting the emptiest gives back as
 * much as it takes. Beside these lines one is open, and one is needed to copy to.
 */
static void shape_map(const struct nvc_model *m, u64 units, struct ssd_shape *s)
{
	if (!m->mapping_cache)
		return;
	s->map_pages = ceil_div(units, 1 << SSD_MAP_SHIFT);
	s->map_lines = ceil_div(4ULL * s->map_pages, s->per_line) + 2;
	s->spare_lines += s->map_lines;
	s->frames = nvc_min(nvc_max(m->mapping_cache >> 2, 1), s->map_pages);
}

/* Blocks are made as long as a scaled-down drive needs, or there are as many as it needs. */
static int shape_lines(const struct nvc_model *m, u64 units, struct ssd_shape *s)
{
	u64 total = ceil_div(units * (1000 + m->spare), 1000);
	u32 across = s->lanes * s->per_program;
	u64 rows = m->pages / m->program_pages;
	/* a block has whole cells, with pages of all types */
	u32 group = m->program_pages == m->cell_bits ? 1 : m->cell_bits;
	u64 lines;

	if (!m->pages)
		rows = ceil_div(ceil_div(total, m->blocks), across * group) * group;
	if (rows > 65536 || rows * across > MAX_LINE_UNITS)
		return -ERANGE;
	s->rows = rows;
	s->words = rows * s->lanes;
	s->per_line = rows * across;
	s->map_words = ceil_div(s->per_line, 64);
	shape_map(m, units, s);
	lines = ceil_div(units, s->per_line) + s->spare_lines;
	if (m->pages && m->blocks && m->blocks < lines)
		return -ERANGE;
	lines = m->pages && m->blocks ? m->blocks : nvc_max(lines, ceil_div(total, s->per_line));
	if (lines > MAX_LINES || lines * s->per_line >= SSD_NONE)
		return -ERANGE;
	s->lines = lines;
	return 0;
}

/* An SSD that has nothing but zones. */
static int shape_no_lines(struct ssd_shape *s)
{
	s->rows = 1;
	s->words = s->lanes;
	s->per_line = s->lanes * s->per_program;
	s->map_words = ceil_div(s->per_line, 64);
	return 0;
}

/*
 * Each handle has an open line. Isolated for good it has another for collection, and
 * may leave one more behind: see gc.c.
 */
static void shape_handles(const struct nvc_model *m, struct ssd_shape *s)
{
	u32 kept = m->fdp_persistent ? m->fdp_handles : 0;

	s->handles = m->fdp_handles;
	s->spare_lines = SSD_SPARE_LINES + s->handles + 2 * kept;
	s->reserve = SSD_RESERVE + kept;
}

/* Keys have a log of their own, see kv_log.c. */
static void shape_buffer(const struct nvc_model *m, bool keys, struct ssd_shape *s)
{
	s->slots = nvc_max(4 + s->handles, (m->buffer >> 2) / s->per_program);
	s->undos = keys || m->plp ? 0 : s->slots * s->per_program + WHOLE_UNITS;
}

/* Logical units that have no zones. */
static u64 shape_units(const struct nvc_config *config)
{
	if (config->kind == NVC_ZNS)
		return nvc_zns_conventional(config) >> SSD_UNIT_SHIFT;
	return ceil_div(config->blocks, 1 << (SSD_UNIT_SHIFT - config->block_shift));
}

int nvc_shape(const struct nvc_config *config, struct ssd_shape *shape)
{
	const struct nvc_model *m = &config->model;
	u64 units = shape_units(config);
	int err;

	memset(shape, 0, sizeof(*shape));
	if (m->page_size % (1 << SSD_UNIT_SHIFT) || m->pages % m->program_pages)
		return -EINVAL;
	if (!m->pages && !m->blocks)
		return -EINVAL;
	if ((m->fdp_handles || m->mapping_cache) && config->kind != NVC_SSD)
		return -EINVAL;
	if (units + (units >> SSD_MAP_SHIFT) + 1 >= SSD_NONE)
		return -ERANGE;
	shape->units = units;
	shape_lanes(m, shape);
	shape_handles(m, shape);
	err = units ? shape_lines(m, units, shape) : shape_no_lines(shape);
	if (!err)
		shape_buffer(m, config->kind == NVC_KV, shape);
	return err;
}

/* The next @bytes of @memory, which may be NULL when only the size matters. */
static void *carve(u8 *memory, size_t *at, size_t bytes)
{
	void *part = memory ? memory + *at : NULL;

	*at += (bytes + 7) & ~(size_t)7;
	return part;
}

static void carve_tree(const struct ssd_shape *s, u8 *memory, size_t *at, struct ssd_arrays *a)
{
	u32 bits = s->per_line + 1;
	u32 level;

	a->heads = carve(memory, at, bits * sizeof(u32));
	for (level = 0; level < SSD_LEVELS; level++) {
		bits = ceil_div(bits, 64);
		a->filled[level] = carve(memory, at, bits * sizeof(u64));
	}
}

size_t nvc_ssd_layout(const struct ssd_shape *s, u32 channels, u8 *memory,
		      struct ssd_arrays *a)
{
	size_t lines = s->lines;
	size_t at = 0;

	a->l2p = carve(memory, &at, (size_t)ssd_all_units(s) * sizeof(u32));
	a->p2l = carve(memory, &at, lines * s->per_line * sizeof(u32));
	a->valid = carve(memory, &at, lines * s->map_words * sizeof(u64));
	a->bad = carve(memory, &at, lines * s->lane_words * sizeof(u64));
	a->lines = carve(memory, &at, lines * sizeof(struct ssd_line));
	carve_tree(s, memory, &at, a);
	a->dies = carve(memory, &at, s->dies * sizeof(struct ssd_die));
	a->channels = carve(memory, &at, channels * sizeof(struct ssd_timeline));
	a->slots = carve(memory, &at, s->slots * sizeof(struct ssd_slot));
	a->undo = carve(memory, &at, (size_t)s->undos * sizeof(struct ssd_undo));
	a->frames = carve(memory, &at, (size_t)s->frames * sizeof(struct ssd_frame));
	a->frame_of = carve(memory, &at, (size_t)s->map_pages * sizeof(u32));
	return at;
}

int nvc_ssd_check(const struct nvc_config *config)
{
	struct ssd_shape shape;

	return nvc_shape(config, &shape);
}
