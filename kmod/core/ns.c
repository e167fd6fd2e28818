// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Namespaces: pieces of the medium, each in one piece and each beginning at a
 * chunk of the maps' bits, so that to make, delete or format one costs nothing.
 */
#include "internal.h"

#define UNIT ((u64)1 << NVC_NS_SHIFT)

static u64 whole_units(u64 bytes)
{
	return (bytes + UNIT - 1) & ~(UNIT - 1);
}

static u64 end_of(const struct nvc_ns *ns)
{
	return ns->start + whole_units(ns->bytes);
}

/* Bytes from @start to the next namespace or the end; 0 if it is inside one. */
static u64 gap(const struct nvc *c, u64 start)
{
	u64 end = c->capacity;
	u32 i;

	for (i = 0; i < NVC_MAX_NS; i++) {
		const struct nvc_ns *ns = &c->ns[i];

		if (ns->blocks && start < end_of(ns))
			end = nvc_min(end, nvc_max(ns->start, start));
	}
	return end > start ? end - start : 0;
}

/* The first gap of @bytes at least; what begins one is the medium or the end of a namespace. */
static bool find_room(const struct nvc *c, u64 bytes, u64 *start)
{
	bool found = gap(c, 0) >= bytes;
	u32 i;

	*start = 0;
	for (i = 0; i < NVC_MAX_NS; i++) {
		u64 end = c->ns[i].blocks ? end_of(&c->ns[i]) : 0;

		if (gap(c, end) >= bytes && (!found || end < *start)) {
			*start = end;
			found = true;
		}
	}
	return found;
}

u64 nvc_ns_free(const struct nvc *c, u64 *largest)
{
	u64 sum = gap(c, 0);
	u64 most = sum;
	u32 i;

	for (i = 0; i < NVC_MAX_NS; i++) {
		u64 here = c->ns[i].blocks ? gap(c, end_of(&c->ns[i])) : 0;

		sum += here;
		most = nvc_max(most, here);
	}
	if (largest)
		*largest = most;
	return sum;
}

static bool format_known(u32 block_shift)
{
	return block_shift == 9 || block_shift == 12;
}

/* Its blocks read as zeros, and can be read. */
static void wipe(struct nvc *c, struct nvc_ns *ns)
{
	u64 bytes = nvc_min(whole_units(ns->bytes), c->capacity - ns->start);
	struct nvc_extent all = {
		ns->start >> NVC_MIN_BLOCK_SHIFT, bytes >> NVC_MIN_BLOCK_SHIFT
	};

	nvc_map_clear(&c->written, all);
	nvc_map_clear(&c->bad, all);
	ns->flags &= ~NVC_NS_DAMAGED;
	if (c->media->forget)
		c->media->forget(c, all);
}

static int create(struct nvc *c, struct nvc_ns *ns, const struct nvc_ns_change *change)
{
	u64 most = c->capacity >> change->block_shift;
	u64 start;

	if (ns->blocks)
		return -EEXIST;
	if (!change->blocks || !format_known(change->block_shift))
		return -EINVAL;
	if (change->blocks > most || !find_room(c, change->blocks << change->block_shift, &start))
		return -ENOSPC;
	memset(ns, 0, sizeof(*ns));
	ns->blocks = change->blocks;
	ns->start = start;
	ns->bytes = change->blocks << change->block_shift;
	ns->block_shift = change->block_shift;
	ns->attached = change->value;
	return 0;
}

static int format(struct nvc *c, struct nvc_ns *ns, u32 block_shift)
{
	if (!format_known(block_shift) || !(ns->bytes >> block_shift))
		return -EINVAL;
	ns->block_shift = block_shift;
	ns->blocks = ns->bytes >> block_shift;
	wipe(c, ns);
	return 0;
}

/* What a host may switch. */
static u32 switches(const struct nvc_ns *ns)
{
	return NVC_NS_PROTECTED | (ns->flags & NVC_NS_KEYS ? NVC_NS_STRICT_DELETE : NVC_NS_DULBE);
}

static int alter(struct nvc *c, struct nvc_ns *ns, const struct nvc_ns_change *change)
{
	switch (change->op) {
	case NVC_NS_DELETE:
		wipe(c, ns);
		memset(ns, 0, sizeof(*ns));
		return 0;
	case NVC_NS_FORMAT:
		return format(c, ns, change->block_shift);
	case NVC_NS_ATTACH:
		ns->attached = change->value;
		return 0;
	case NVC_NS_SWITCH:
		if (change->value & ~switches(ns))
			return -EINVAL;
		if (ns->flags & NVC_NS_ZONED && change->value & ~ns->flags & NVC_NS_PROTECTED)
			nvc_zns_protect(c);
		ns->flags = (ns->flags & ~switches(ns)) | change->value;
		return 0;
	case NVC_NS_EVENTS:
		return nvc_place_tell(c, change->blocks, change->value);
	default:
		return -EINVAL;
	}
}

int nvc_ns_alter(struct nvc *c, const struct nvc_ns_change *change)
{
	struct nvc_ns *ns;

	if (!change->nsid || change->nsid > NVC_MAX_NS)
		return -EINVAL;
	if ((c->config.kind == NVC_ZNS || c->config.kind == NVC_KV) &&
	    change->op <= NVC_NS_DELETE)
		return -EINVAL;
	ns = &c->ns[change->nsid - 1];
	if (change->op == NVC_NS_CREATE)
		return create(c, ns, change);
	return ns->blocks ? alter(c, ns, change) : -ENXIO;
}

static bool sound_one(const struct nvc *c, const struct nvc_ns *ns)
{
	return format_known(ns->block_shift) && ns->blocks == ns->bytes >> ns->block_shift &&
	       ns->bytes <= c->capacity && ns->start <= c->capacity - ns->bytes &&
	       !(ns->start % UNIT) && ns->flags < 2 * NVC_NS_STRICT_DELETE &&
	       (!(ns->flags & NVC_NS_ZONED) || c->config.kind == NVC_ZNS) &&
	       (!(ns->flags & (NVC_NS_KEYS | NVC_NS_STRICT_DELETE)) || c->config.kind == NVC_KV);
}

/* Whether namespaces that were read in are pieces of the medium, none in another. */
bool nvc_ns_sound(const struct nvc *c)
{
	u32 i, k;

	for (i = 0; i < NVC_MAX_NS; i++) {
		const struct nvc_ns *a = &c->ns[i];

		if (a->blocks && !sound_one(c, a))
			return false;
		for (k = 0; a->blocks && k < i; k++)
			if (c->ns[k].blocks && a->start < end_of(&c->ns[k]) &&
			    c->ns[k].start < end_of(a))
				return false;
	}
	return true;
}

/* As drives come from the factory: one namespace, which every controller has. */
void nvc_ns_init(struct nvc *c)
{
	struct nvc_ns *ns = &c->ns[0];

	ns->blocks = c->config.blocks;
	ns->bytes = c->capacity;
	ns->block_shift = c->config.block_shift;
	ns->attached = ~0U;
	if (c->config.kind == NVC_ZNS)
		nvc_zns_namespaces(c);
	if (c->config.kind == NVC_KV)
		nvc_kv_namespaces(c);
}

const struct nvc_ns *nvc_ns_get(const struct nvc *c, u32 nsid)
{
	if (!nsid || nsid > NVC_MAX_NS || !c->ns[nsid - 1].blocks)
		return NULL;
	return &c->ns[nsid - 1];
}
