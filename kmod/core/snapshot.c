// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A device's state is the memory it was given, so writing that memory out is
 * the snapshot. Only its pointers tie it to a place: they are cleared before,
 * and set again after.
 */
#include "ssd.h"

#define MAGIC 0x31706e73626c766eULL /* "nvlbsnp1" */
#define PRIME 0x100000001b3ULL

/* Structures of another build lie elsewhere: FNV-1a over their sizes. */
static u64 layout(void)
{
	static const u32 sizes[] = {
		sizeof(struct nvc), sizeof(struct nvc_config), sizeof(struct nvc_counters),
		sizeof(struct ssd), sizeof(struct ssd_line), sizeof(struct ssd_undo),
		sizeof(struct ssd_slot), sizeof(struct ssd_timeline),
	};
	u64 hash = 0xcbf29ce484222325ULL;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		hash = (hash ^ sizes[i]) * PRIME;
	return hash;
}

/* FNV-1a, eight bytes at a time, in four lanes that do not wait for one another. */
static u64 checksum(const u64 *word, size_t words)
{
	u64 lanes[4] = { 1, 2, 3, 4 };
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

static bool same_bytes(const void *a, const void *b, size_t n)
{
	const u8 *x = a;
	const u8 *y = b;

	while (n && *x++ == *y++)
		n--;
	return !n;
}

/* The configuration may differ in what may change in use. */
static bool same_device(const struct nvc_config *a, const struct nvc_config *b)
{
	return a->blocks == b->blocks && a->kind == b->kind && a->seed == b->seed &&
	       a->block_shift == b->block_shift && a->vwc == b->vwc &&
	       (a->kind == NVC_NVM || !nvc_model_check_live(&a->model, &b->model));
}

void nvc_freeze(struct nvc *c, struct nvc_snapshot *snapshot)
{
	memset(snapshot, 0, sizeof(*snapshot));
	snapshot->magic = MAGIC;
	snapshot->layout = layout();
	snapshot->size = nvc_size(&c->config);
	snapshot->config = c->config;
	if (c->config.kind == NVC_SSD)
		memset(&ssd_of(c)->a, 0, sizeof(ssd_of(c)->a));
	c->media = NULL;
	c->state = NULL;
	memset(&c->written, 0, sizeof(c->written));
	memset(&c->bad, 0, sizeof(c->bad));
	snapshot->checksum = checksum((const u64 *)c, snapshot->size / sizeof(u64));
}

int nvc_thaw(struct nvc *c, const struct nvc_snapshot *snapshot,
	     const struct nvc_config *config)
{
	if (snapshot->magic != MAGIC || snapshot->layout != layout())
		return -EINVAL;
	if (nvc_check(config) || !same_device(&snapshot->config, config) ||
	    snapshot->size != nvc_size(config))
		return -EMEDIUMTYPE;
	if (snapshot->checksum != checksum((const u64 *)c, snapshot->size / sizeof(u64)) ||
	    !same_bytes(&c->config, &snapshot->config, sizeof(c->config)))
		return -EBADMSG;
	nvc_attach(c);
	return 0;
}
