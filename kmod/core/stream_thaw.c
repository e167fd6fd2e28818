// SPDX-License-Identifier: GPL-2.0-or-later
/* Streams that were read in, and are not believed: see thaw.c. */
#include "snapshot.h"
#include "ssd.h"

/* Whether nothing in @line from place @from to @to is current. */
bool nvc_line_bare(const struct ssd *s, u32 line, u32 from, u32 to)
{
	const u64 *map = ssd_valid_map(s, line);

	for (; from < to; from++)
		if (map[from / 64] >> (from % 64) & 1)
			return false;
	return true;
}

/* Whether anything is ever written to a stream of this device. */
bool nvc_stream_used(const struct nvc *c, u32 id)
{
	u32 handles = ssd_of(c)->shape.handles;

	if (id == SSD_MAP)
		return ssd_of(c)->shape.map_pages;
	if (id < SSD_PLACED)
		return id == SSD_GC || !handles;
	return ssd_handle(id) < handles && (ssd_of_host(id) || c->config.model.fdp_persistent);
}

/* A word in work is on a good block, and what is to be written holds nothing. */
static bool sound_stream(const struct nvc *c, u32 id)
{
	const struct ssd *s = ssd_of(c);
	const struct ssd_stream *stream = &s->streams[id];
	const struct ssd_shape *g = &s->shape;

	if (stream->line == SSD_NONE)
		return !stream->fill;
	if (stream->line >= g->lines || s->a.lines[stream->line].state != SSD_OPEN ||
	    s->a.lines[stream->line].stream != id || !nvc_stream_used(c, id) ||
	    stream->word > g->words || stream->fill >= g->per_program || !nvc_sound(stream->ready))
		return false;
	if (stream->fill && (stream->word == g->words ||
			     ssd_bad(s, stream->line, stream->word % g->lanes)))
		return false;
	return nvc_line_bare(s, stream->line, stream->word * g->per_program + stream->fill,
			       g->per_line);
}

/* A stream of the host with a word in work has the slot of it, alone. */
static bool has_slot(const struct ssd *s, u32 id)
{
	const struct ssd_stream *stream = &s->streams[id];

	if (!ssd_of_host(id) || !stream->fill)
		return true;
	if (stream->slot >= s->shape.slots || s->a.slots[stream->slot].done != SSD_NEVER)
		return false;
	while (id--)
		if (ssd_of_host(id) && s->streams[id].fill && s->streams[id].slot == stream->slot)
			return false;
	return true;
}

/* Each has a line of its own; no other line is open, and no other slot waits for its word. */
bool nvc_streams_sound(const struct nvc *c)
{
	const struct ssd *s = ssd_of(c);
	u32 filling = 0;
	u32 lines = 0;
	u32 i;

	for (i = 0; i < SSD_STREAMS; i++) {
		const struct ssd_stream *stream = &s->streams[i];

		if (!sound_stream(c, i) || !has_slot(s, i))
			return false;
		lines += stream->line != SSD_NONE;
		filling += ssd_of_host(i) && stream->fill;
	}
	for (i = 0; i < s->shape.lines; i++)
		lines -= s->a.lines[i].state == SSD_OPEN;
	for (i = 0; i < s->shape.slots; i++) {
		filling -= s->a.slots[i].done == SSD_NEVER;
		if (!nvc_sound(s->a.slots[i].done) && s->a.slots[i].done != SSD_NEVER)
			return false;
	}
	return !lines && !filling;
}
