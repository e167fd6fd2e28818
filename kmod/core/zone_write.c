// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writing to zones. What comes is gathered in a word for each zone, and
 * programmed when it is full; then it takes a place of the write buffer, which
 * conventional blocks use too. A word that must be safe before it is full is
 * programmed elsewhere, and again when it is.
 */
#include "zns.h"

#define MILLION 1000000

/* The die of a word of a zone. */
u32 nvc_zone_die(const struct zns *zns, u32 z, u32 word)
{
	const struct zns_shape *g = &zns->shape;

	return z % g->groups * g->dies + word % g->lanes % g->dies;
}

/* The first page of a word of a zone, in its block. */
u32 nvc_zone_page(const struct nvc *c, u32 word)
{
	const struct zns_shape *g = &zns_of(c)->shape;

	return word / g->lanes % g->rows * c->config.model.program_pages;
}

static u64 program_word(struct nvc *c, u32 z, u32 word, u64 at)
{
	const struct zns *zns = zns_of(c);

	return nvc_die_program(c, nvc_zone_die(zns, z, word), nvc_zone_page(c, word),
			       nvc_max(at, zns->zones[z].erased));
}

/* A zone has no more programs in the buffer than it may: the next waits for one of them. */
static u64 wait_turn(const struct nvc *c, u32 z, u64 at)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	const struct ssd *s = ssd_of(c);
	u64 first;
	u32 i, n;

	if (g->queue >= s->shape.slots)
		return at;
	for (;;) {
		first = SSD_NEVER;
		n = 0;
		for (i = 0; i < s->shape.slots; i++) {
			const struct ssd_slot *slot = &s->a.slots[i];

			if (slot->base - (g->base + z * g->units) >= g->units || slot->done <= at)
				continue;
			first = nvc_min(first, slot->done);
			n++;
		}
		if (n < g->queue)
			return at;
		at = first;
	}
}

/* After a program that fails the word is written elsewhere, and the zone is read-only. */
static u64 maybe_again(struct nvc *c, u32 z, u32 word, u64 done)
{
	u32 chance = c->config.model.program_fail;
	struct ssd *s = ssd_of(c);

	if (!chance || nvc_random(s, MILLION) >= chance)
		return done;
	zns_of(c)->zones[z].failed = true;
	s->stats.pad_units += s->shape.per_program;
	return program_word(c, z, word, done);
}

/* Programs a word of which @sectors are the host's. Returns when it is in the buffer. */
static u64 program(struct nvc *c, u32 z, u32 word, u32 sectors, u64 at)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	struct zns_zone *zone = &zns_of(c)->zones[z];
	struct ssd *s = ssd_of(c);
	u32 slot;
	u64 done;

	at = wait_turn(c, z, at);
	slot = nvc_buffer_slot(s, g->base + z * g->units + word * s->shape.per_program, &at);
	done = maybe_again(c, z, word, program_word(c, z, word, at));
	nvc_buffer_done(s, slot, done);
	zone->programmed = nvc_max(zone->programmed, done);
	zone->words = nvc_max(zone->words, word + 1);
	s->stats.pad_units += s->shape.per_program - zone_units(sectors);
	return at;
}

/* Programs what there is of the last word. */
static void pad_word(struct nvc *c, u32 z)
{
	struct zns *zns = zns_of(c);
	struct zns_zone *zone = &zns->zones[z];
	u32 fill = zone_fill(zns, zone);

	if (fill)
		program(c, z, zone->wp / zns->shape.word, fill, nvc_max(c->now, zone->ready));
}

/**
 * nvc_zone_pad() - program all of a zone that is not
 * @c: the device
 * @z: an empty or active zone, which is full afterwards
 *
 * The rest is programmed in the spare time of the dies, if at all.
 *
 * Return: ns, when that is done.
 */
u64 nvc_zone_pad(struct nvc *c, u32 z)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	struct zns_zone *zone = &zns_of(c)->zones[z];
	struct ssd *s = ssd_of(c);
	u64 ready = nvc_max(c->now, zone->erased);
	u64 end;

	pad_word(c, z);
	end = nvc_max(c->now, zone->programmed);
	while (c->config.model.zone_finish && zone->words < g->words) {
		u32 page = nvc_zone_page(c, zone->words) % c->config.model.cell_bits;
		u32 die = nvc_zone_die(zns_of(c), z, zone->words++);

		end = nvc_max(end, nvc_die_later(c, die, ready, s->program[page]));
		s->stats.programs++;
		s->stats.pad_units += s->shape.per_program;
	}
	return end;
}

/* The write pointer has moved. */
static void settle_state(struct nvc *c, u32 z)
{
	struct zns *zns = zns_of(c);
	struct zns_zone *zone = &zns->zones[z];

	if (zone->failed) {
		pad_word(c, z);
		nvc_zone_fails(c, z, NVC_ZONE_READ_ONLY);
	} else if (zone->wp == zns->shape.capacity) {
		nvc_zone_set(zns, z, NVC_ZONE_FULL);
	}
}

/* Writes from the write pointer up to sector @to. Returns when all is in the buffer. */
static u64 advance(struct nvc *c, u32 z, u32 to, u64 at)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	struct zns_zone *zone = &zns_of(c)->zones[z];

	ssd_of(c)->stats.host_units += zone_units(to) - zone_units(zone->wp);
	while (zone->wp < to) {
		u32 word = zone->wp / g->word;
		u32 end = nvc_min((word + 1) * g->word, g->capacity);

		zone->wp = nvc_min(end, to);
		if (zone->wp == end)
			at = program(c, z, word, end - word * g->word, at);
	}
	zone->ready = nvc_max(zone->ready, at);
	settle_state(c, z);
	return at;
}

/**
 * nvc_zone_commit() - write what is in a random write area
 * @c: the device
 * @z: an open zone with one
 * @to: sector, the new write pointer
 * @at: ns, when it may begin
 *
 * What is in the area survives a power cut, and so does what was.
 *
 * Return: ns, when it is in the buffer.
 */
u64 nvc_zone_commit(struct nvc *c, u32 z, u32 to, u64 at)
{
	struct zns_zone *zone = &zns_of(c)->zones[z];

	at = advance(c, z, to, at);
	zone->saved = zone->wp;
	zone->save = zone->wp;
	return at;
}

/* Makes room in the area for a write up to sector @end, if need be. */
static u64 write_zrwa(struct nvc *c, u32 z, u32 end, u64 at)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	struct zns_zone *zone = &zns_of(c)->zones[z];
	u32 beyond;

	if (end <= zone->wp + g->zrwa)
		return at;
	beyond = end - zone->wp - g->zrwa;
	return nvc_zone_commit(c, z, zone->wp + (beyond + g->flush - 1) / g->flush * g->flush, at);
}

/*
 * Has all that was written to a zone survive a power cut. What is being saved
 * counts as saved then: a device may keep more than it must. Returns when.
 */
static u64 save(struct nvc *c, u32 z)
{
	struct zns *zns = zns_of(c);
	struct zns_zone *zone = &zns->zones[z];
	struct ssd *s = ssd_of(c);

	if (zone_fill(zns, zone) && zone->save < zone->wp) {
		zone->saved = zone->save;
		zone->save = zone->wp;
		zone->saving = program_word(c, z, zone->wp / zns->shape.word,
					    nvc_max(c->now, zone->ready));
		s->durable = nvc_max(s->durable, zone->saving);
		s->stats.pad_units += s->shape.per_program;
	}
	return nvc_max(zone->programmed, zone->saving);
}

/**
 * nvc_zone_keep() - have what is read with FUA survive a power cut
 * @c: the device
 * @cmd: the command
 * @at: sectors of zones
 *
 * A zone is kept up to somewhere, so what lies before them is kept with them.
 *
 * Return: ns, when they do.
 */
u64 nvc_zone_keep(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent at)
{
	const struct zns *zns = zns_of(c);
	u32 last = zone_index(zns, at.first + at.count - 1);
	u64 end = c->now;
	u32 z;

	if (!(cmd->flags & NVC_FUA))
		return end;
	for (z = zone_index(zns, at.first); z <= last; z++) {
		u32 to = z < last ? zns->shape.capacity :
				    zone_offset(zns, at.first + at.count - 1) + 1;

		if (nvc_zone_kept(c, z) < nvc_min(to, zns->zones[z].wp))
			end = nvc_max(end, save(c, z));
	}
	return end;
}

/* Has all that was written to any zone survive a power cut, when ssd.durable has come. */
void nvc_zone_save_all(struct nvc *c)
{
	struct zns *zns = zns_of(c);
	u32 z = zns->head;

	if (z == SSD_NONE)
		return;
	do {
		save(c, z);
		z = zns->zones[z].next;
	} while (z != zns->head);
}

/**
 * nvc_zone_write() - write to a zone
 * @c: the device
 * @cmd: what asks for it
 * @to: sectors, which the zone can take now
 * @at: ns, when the data come
 *
 * Return: ns, when the command is done: all is in the buffer, or on the medium.
 */
u64 nvc_zone_write(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent to, u64 at)
{
	const struct nvc_model *m = &c->config.model;
	struct zns *zns = zns_of(c);
	u32 z = zone_index(zns, to.first);
	u32 end = zone_offset(zns, to.first) + to.count;
	struct zns_zone *zone = &zns->zones[z];
	bool safe = m->plp || zone->attributes & NVC_ZONE_HAS_ZRWA;

	nvc_zone_write_opens(zns, z);
	if (zone->attributes & NVC_ZONE_HAS_ZRWA)
		at = write_zrwa(c, z, end, at);
	else
		at = advance(c, z, end, at);
	if (!safe && !(nvc_cached(c, cmd) && !(cmd->flags & NVC_FUA)))
		return nvc_max(at, save(c, z));
	return at;
}
