// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind hdd: one arm over tracks that turn.
 *
 * Seeking takes a part that does not depend on the distance and one that grows
 * with its square root. Between two random places the root of the distance, as
 * a part of the whole stroke, averages 8/15: so the whole stroke costs
 * seek_track + 15/8 (seek_average - seek_track). Then the platter must come
 * round; where it stands follows from the time alone.
 */
#include "snapshot.h"

#define TRACK_SHIFT 10
#define ROOT_SHIFT 24

/**
 * struct hdd - state of the kind
 * @busy: ns, all its work is done
 * @track: under the arm
 */
struct hdd {
	u64 busy;
	u64 track;
};

static size_t hdd_size(const struct nvc_config *config)
{
	return sizeof(struct hdd);
}

static void hdd_init(struct nvc *c)
{
	memset(c->state, 0, sizeof(struct hdd));
}

static void hdd_reset(struct nvc *c)
{
	struct hdd *hdd = c->state;

	hdd->busy = c->now;
}

static u32 track_bytes(const struct nvc *c)
{
	return c->config.model.track << TRACK_SHIFT;
}

/* The integer square root, a bit at a time. */
static u64 root(u64 square)
{
	u64 result = 0;
	u64 bit = 1ULL << 62;

	for (; bit; bit >>= 2) {
		if (square >= result + bit) {
			square -= result + bit;
			result = (result >> 1) + bit;
		} else {
			result >>= 1;
		}
	}
	return result;
}

static u64 seek_time(const struct nvc *c, u64 from, u64 to)
{
	const struct nvc_model *m = &c->config.model;
	u64 tracks = nvc_div(c->capacity, track_bytes(c)) + 1;
	u64 distance = from > to ? from - to : to - from;
	u64 more = m->seek_average > m->seek_track ? m->seek_average - m->seek_track : 0;
	u64 part;

	if (distance <= 1)
		return distance * m->seek_track;
	/* there are at most 2^36 tracks: 2^48 bytes of 2^12 */
	part = nvc_div(root(distance << 24) << ROOT_SHIFT, root(tracks << 24));
	return m->seek_track + ((more * 15 / 8) * part >> ROOT_SHIFT);
}

/* From @now on, until the place @to comes round. */
static u64 turn_time(u64 now, u32 turn, u32 to)
{
	u32 at = nvc_mod(now, turn);

	return to >= at ? to - at : turn - at + to;
}

/*
 * Where a byte is, in ns after the index mark. Tracks are skewed, so that the
 * next one begins just after the step to it.
 */
static u32 angle(const struct nvc *c, u64 byte, u64 track, u32 turn)
{
	u32 along = nvc_div((u64)nvc_mod(byte, track_bytes(c)) * turn, track_bytes(c));
	u64 skew = (u64)nvc_mod(track, turn) * nvc_mod(c->config.model.seek_track, turn);

	return nvc_mod(along + skew, turn);
}

static u64 hdd_access(struct nvc *c, struct nvc_extent where)
{
	u64 byte = where.first << NVC_MIN_BLOCK_SHIFT;
	u64 bytes = where.count << NVC_MIN_BLOCK_SHIFT;
	u32 turn = nvc_div(60000000000ULL, c->config.model.rpm);
	struct hdd *hdd = c->state;
	u64 track = nvc_div(byte, track_bytes(c));
	u64 last = nvc_div(byte + bytes - 1, track_bytes(c));
	u64 at = nvc_max(c->now + c->config.model.disk_overhead, hdd->busy);

	at += seek_time(c, hdd->track, track);
	at += turn_time(at, turn, angle(c, byte, track, turn));
	at += nvc_div(bytes * turn, track_bytes(c)) + (last - track) * c->config.model.seek_track;
	hdd->track = last;
	hdd->busy = at;
	return at;
}

/* Reads all sources, then writes. */
static u64 hdd_copy(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		    const struct nvc_range *ranges)
{
	u64 nlb = 0;
	u32 i;

	for (i = 0; i < cmd->nlb; i++) {
		hdd_access(c, nvc_extent(ns, ranges[i].slba, ranges[i].nlb));
		nlb += ranges[i].nlb;
	}
	return hdd_access(c, nvc_extent(ns, cmd->slba, nlb));
}

static u64 hdd_target(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		      const struct nvc_range *ranges)
{
	const struct hdd *hdd = c->state;

	switch (cmd->opcode) {
	case NVC_READ:
	case NVC_WRITE:
	case NVC_COMPARE:
	case NVC_VERIFY:
		return hdd_access(c, nvc_extent(ns, cmd->slba, cmd->nlb));
	case NVC_COPY:
		return hdd_copy(c, cmd, ns, ranges);
	case NVC_FLUSH:
		return nvc_cached(c, cmd) ? nvc_max(c->now, hdd->busy) : c->now;
	default:
		return c->now + c->config.model.disk_overhead;
	}
}

static u32 hdd_parts(const struct nvc *c, struct nvc_part *parts)
{
	const struct hdd *hdd = c->state;

	parts[0] = nvc_part(hdd, hdd + 1);
	return 1;
}

static bool hdd_thaw(struct nvc *c)
{
	const struct hdd *hdd = c->state;

	return nvc_sound(hdd->busy) && hdd->track <= nvc_div(c->capacity, track_bytes(c));
}

const struct nvc_media nvc_hdd = {
	.size = hdd_size,
	.init = hdd_init,
	.reset = hdd_reset,
	.target = hdd_target,
	.parts = hdd_parts,
	.thaw = hdd_thaw,
};
