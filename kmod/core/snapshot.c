// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A device's state, to be kept elsewhere and gone on from: the pieces of its
 * memory that nothing else tells. What follows from them is made anew, and
 * nothing in them is believed: see thaw.c.
 */
#include "kv.h"
#include "snapshot.h"
#include "zns.h"

#define MAGIC 0x32706e73626c766eULL /* "nvlbsnp2"; another digit where fields change places */
#define PRIME 0x100000001b3ULL

/* Structures of another build lie elsewhere: FNV-1a over their sizes. */
static u64 layout(void)
{
	static const u32 sizes[] = {
		sizeof(struct nvc), sizeof(struct nvc_ns), sizeof(struct nvc_counters),
		sizeof(struct nvc_slot), sizeof(struct ssd), sizeof(struct ssd_line),
		sizeof(struct ssd_undo), sizeof(struct ssd_slot), sizeof(struct ssd_die),
		sizeof(struct ssd_frame),
		sizeof(struct ssd_timeline), sizeof(struct nvc_model), sizeof(struct zns),
		sizeof(struct zns_zone), sizeof(struct kv), sizeof(struct kv_slot),
		sizeof(struct kv_undo),
	};
	u64 hash = 0xcbf29ce484222325ULL;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		hash = (hash ^ sizes[i]) * PRIME;
	return hash;
}

/* FNV-1a, eight bytes at a time, in four lanes that do not wait for one another. */
static u64 checksum(u64 seed, const u64 *word, size_t words)
{
	u64 lanes[4] = { seed ^ 1, seed ^ 2, seed ^ 3, seed ^ 4 };
	size_t i;

	for (i = 0; i + 4 <= words; i += 4) {
		lanes[0] = (lanes[0] ^ word[i]) * PRIME;
		lanes[1] = (lanes[1] ^ word[i + 1]) * PRIME;
		lanes[2] = (lanes[2] ^ word[i + 2]) * PRIME;
		lanes[3] = (lanes[3] ^ word[i + 3]) * PRIME;
	}
	for (; i < words; i++)
		lanes[i % 4] = (lanes[i % 4] ^ word[i]) * PRIME;
	for (i = 1; i < 4; i++)
		lanes[0] = (lanes[0] ^ lanes[i] ^ lanes[i] >> 32) * PRIME;
	return lanes[0] ^ lanes[0] >> 32;
}

/* The configuration may differ in what may change in use. */
static bool same_device(const struct nvc_config *a, const struct nvc_config *b)
{
	return a->blocks == b->blocks && a->kind == b->kind && a->seed == b->seed &&
	       a->block_shift == b->block_shift && a->vwc == b->vwc &&
	       (a->kind == NVC_NVM || !nvc_model_check_live(&a->model, &b->model));
}

/*
 * All pieces, of every kind the same ones first. Where they are and how large
 * does not depend on what is in them, which may be anybody's.
 */
static u32 parts_of(const struct nvc *c, struct nvc_part *parts)
{
	u32 shift = c->config.block_shift - NVC_MIN_BLOCK_SHIFT;
	size_t map = nvc_map_size(c->config.blocks << shift);

	parts[0] = nvc_part(c->ns, c + 1);
	parts[1] = (struct nvc_part){ c->written.used, map };
	parts[2] = (struct nvc_part){ c->bad.used, map };
	return 3 + c->media->parts(c, parts + 3);
}

void nvc_freeze(const struct nvc *c, struct nvc_snapshot *snapshot)
{
	struct nvc_part parts[NVC_MAX_PARTS];
	u32 n = parts_of(c, parts);
	u32 i;

	memset(snapshot, 0, sizeof(*snapshot));
	snapshot->magic = MAGIC;
	snapshot->layout = layout();
	snapshot->config = c->config;
	for (i = 0; i < n; i++) {
		snapshot->size += parts[i].bytes;
		snapshot->checksum = checksum(snapshot->checksum, parts[i].at,
					      parts[i].bytes / sizeof(u64));
	}
}

/* Copies what of @bytes from @offset lies in a part that begins at @start, out of or into it. */
static void copy_part(const struct nvc_part *part, u64 start, u64 offset, u8 *piece, size_t bytes,
		      bool out)
{
	u64 from = nvc_max(start, offset);
	u64 to = nvc_min(start + part->bytes, offset + bytes);

	if (from >= to)
		return;
	if (out)
		memcpy(piece + (from - offset), part->at + (from - start), to - from);
	else
		memcpy(part->at + (from - start), piece + (from - offset), to - from);
}

static void copy_piece(const struct nvc *c, u64 offset, u8 *piece, size_t bytes, bool out)
{
	struct nvc_part parts[NVC_MAX_PARTS];
	u32 n = parts_of(c, parts);
	u64 start = 0;
	u32 i;

	for (i = 0; i < n; i++) {
		copy_part(&parts[i], start, offset, piece, bytes, out);
		start += parts[i].bytes;
	}
}

void nvc_save(const struct nvc *c, u64 offset, void *piece, size_t bytes)
{
	copy_piece(c, offset, piece, bytes, true);
}

void nvc_load(struct nvc *c, u64 offset, const void *piece, size_t bytes)
{
	copy_piece(c, offset, (u8 *)piece, bytes, false);
}

int nvc_fits(const struct nvc *c, const struct nvc_snapshot *snapshot)
{
	struct nvc_part parts[NVC_MAX_PARTS];
	u64 size = 0;
	u32 i;

	if (snapshot->magic != MAGIC || snapshot->layout != layout())
		return -EINVAL;
	for (i = parts_of(c, parts); i; i--)
		size += parts[i - 1].bytes;
	return same_device(&snapshot->config, &c->config) && snapshot->size == size ?
	       0 : -EMEDIUMTYPE;
}

int nvc_thaw(struct nvc *c, const struct nvc_snapshot *snapshot)
{
	struct nvc_snapshot found;
	int err = nvc_fits(c, snapshot);

	if (err)
		return err;
	nvc_freeze(c, &found);
	if (found.checksum != snapshot->checksum)
		return -EBADMSG;
	return nvc_thaw_any(c) && c->media->thaw(c) ? 0 : -EBADMSG;
}
