// SPDX-License-Identifier: GPL-2.0-or-later
/* Kind zns: what each command costs an SSD with zones, and does to it. */
#include "snapshot.h"
#include "zns.h"

static struct zns *behind_ssd(struct nvc *c)
{
	return (struct zns *)((u8 *)c->state + nvc_ssd.size(&c->config));
}

static size_t layout(const struct zns_shape *g, u8 *memory, struct zns *zns)
{
	size_t zones = (size_t)g->zones * sizeof(struct zns_zone);

	if (memory) {
		zns->zones = (struct zns_zone *)memory;
		zns->extensions = memory + zones;
	}
	return zones + (size_t)g->zones * g->extension;
}

static size_t zns_size(const struct nvc_config *config)
{
	struct zns_shape shape;

	nvc_zns_shape(config, &shape);
	return nvc_ssd.size(config) + sizeof(struct zns) + layout(&shape, NULL, NULL);
}

static void zns_attach(struct nvc *c)
{
	nvc_ssd.attach(c);
	c->zns = behind_ssd(c);
	layout(&c->zns->shape, (u8 *)(c->zns + 1), c->zns);
}

static void zns_init(struct nvc *c)
{
	struct zns *zns = behind_ssd(c);
	u32 z;

	nvc_ssd.init(c);
	memset(zns, 0, sizeof(*zns));
	nvc_zns_shape(&c->config, &zns->shape);
	zns_attach(c);
	zns->head = SSD_NONE;
	memset(zns->zones, 0, layout(&zns->shape, NULL, NULL));
	for (z = 0; z < zns->shape.zones; z++)
		zns->zones[z].state = NVC_ZONE_EMPTY;
}

/* Namespace 1 has the zones; what there is without them comes first in the medium. */
void nvc_zns_namespaces(struct nvc *c)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	u64 conventional = nvc_zns_conventional(&c->config);
	struct nvc_ns *ns = &c->ns[0];

	if (conventional) {
		c->ns[1] = *ns;
		c->ns[1].bytes = conventional;
		c->ns[1].blocks = conventional >> ns->block_shift;
	}
	ns->start = g->start << NVC_MIN_BLOCK_SHIFT;
	ns->bytes = (u64)g->zones << g->shift << NVC_MIN_BLOCK_SHIFT;
	ns->blocks = ns->bytes >> ns->block_shift;
	ns->flags = NVC_NS_ZONED;
}

/* A valid Zone Append, with where its data go for its first block. */
struct nvc_cmd nvc_zone_place(const struct nvc *c, const struct nvc_ns *ns,
			      const struct nvc_cmd *cmd)
{
	const struct zns *zns = zns_of(c);
	u32 z = zone_index(zns, nvc_extent(ns, cmd->slba, 1).first);
	struct nvc_cmd placed = *cmd;

	placed.slba += zns->zones[z].wp >> (ns->block_shift - NVC_MIN_BLOCK_SHIFT);
	return placed;
}

/* The zoned namespace becomes write-protected: no zone stays active (2.1.1.4.1). */
void nvc_zns_protect(struct nvc *c)
{
	struct zns *zns = zns_of(c);

	while (zns->head != SSD_NONE)
		nvc_zone_finish(c, zns->head);
}

static u64 zns_write(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent to)
{
	const struct nvc_model *m = &c->config.model;
	bool data = cmd->opcode == NVC_WRITE || cmd->opcode == NVC_ZONE_APPEND;
	u64 time = data ? ssd_link_time(ssd_of(c), to.count << NVC_MIN_BLOCK_SHIFT) : 0;
	u64 at = ssd_book(&ssd_of(c)->link_in, c->now, c->now + m->fw_write, time);
	u32 units = zone_units(to.first % SSD_UNIT_SECTORS + to.count);

	return nvc_zone_write(c, cmd, to, at + units * (u64)m->fw_write_unit);
}

static u64 zns_copy(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		    const struct nvc_range *ranges)
{
	u64 at = c->now + c->config.model.fw_write;
	u64 nlb = 0;
	u32 i;

	for (i = 0; i < cmd->nlb; i++) {
		struct nvc_extent from = nvc_extent(ns, ranges[i].slba, ranges[i].nlb);

		at = nvc_max(at, nvc_zone_read(c, from, NULL));
		nlb += ranges[i].nlb;
	}
	return nvc_zone_write(c, cmd, nvc_extent(ns, cmd->slba, nlb), at);
}

/* Of commands that read: with FUA what they read is on the medium before. */
static u64 zns_read(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent at)
{
	u64 safe = nvc_zone_keep(c, cmd, at);
	struct ssd_timeline *link = cmd->opcode == NVC_READ ? &ssd_of(c)->link_out : NULL;

	return nvc_max(safe, nvc_zone_read(c, at, link));
}

static u64 zns_compare(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_extent at)
{
	u64 time = ssd_link_time(ssd_of(c), at.count << NVC_MIN_BLOCK_SHIFT);
	u64 there = ssd_book(&ssd_of(c)->link_in, c->now, c->now + c->config.model.fw_read, time);

	return nvc_max(there, zns_read(c, cmd, at));
}

static u64 zoned_target(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
			const struct nvc_range *ranges)
{
	struct nvc_extent at = nvc_extent(ns, cmd->slba, cmd->nlb);

	switch (cmd->opcode) {
	case NVC_READ:
	case NVC_VERIFY:
		return zns_read(c, cmd, at);
	case NVC_COMPARE:
		return zns_compare(c, cmd, at);
	case NVC_WRITE:
	case NVC_ZONE_APPEND:
	case NVC_WRITE_ZEROES:
	case NVC_WRITE_UNCOR:
		return zns_write(c, cmd, at);
	case NVC_COPY:
		return zns_copy(c, cmd, ns, ranges);
	case NVC_ZONE_SEND:
		return nvc_zone_send(c, cmd, ns);
	default: /* Zone Management Receive and Dataset Management look and note */
		return c->now + c->config.model.fw_write;
	}
}

static void zns_settle(struct nvc *c)
{
	nvc_zone_save_all(c);
	nvc_ssd.settle(c);
}

static u64 zns_target(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		      const struct nvc_range *ranges)
{
	if (cmd->opcode != NVC_FLUSH && !(ns->flags & NVC_NS_ZONED))
		return nvc_ssd.target(c, cmd, ns, ranges);
	ssd_begin(c);
	if (cmd->opcode != NVC_FLUSH)
		return zoned_target(c, cmd, ns, ranges);
	if (c->config.vwc && !c->config.model.plp)
		nvc_zone_save_all(c);
	return nvc_ssd.target(c, cmd, ns, ranges);
}

/* Of zones, all are empty again. */
static void zns_forget(struct nvc *c, struct nvc_extent at)
{
	struct zns *zns = zns_of(c);
	u32 z;

	if (at.first < zns->shape.start) {
		/* what lies between the namespaces belongs to nobody */
		at.count = nvc_zns_conventional(&c->config) >> NVC_MIN_BLOCK_SHIFT;
		nvc_ssd.forget(c, at);
		return;
	}
	for (z = 0; z < zns->shape.zones; z++)
		if (zns->zones[z].state != NVC_ZONE_OFFLINE)
			nvc_zone_reset(c, z);
}

static u32 zns_parts(const struct nvc *c, struct nvc_part *parts)
{
	struct zns *zns = zns_of(c);
	u32 n = nvc_ssd.parts(c, parts);

	parts[n++] = nvc_part(&zns->head, zns + 1);
	parts[n++] = nvc_part(zns->zones, zns->zones + zns->shape.zones);
	parts[n++] = nvc_part(zns->extensions, zns->extensions +
			      (size_t)zns->shape.zones * zns->shape.extension);
	return n;
}

const struct nvc_media nvc_zns = {
	.size = zns_size,
	.init = zns_init,
	.attach = zns_attach,
	.reset = nvc_ssd_reset,
	.retime = nvc_nand_timing,
	.target = zns_target,
	.forget = zns_forget,
	.settle = zns_settle,
	.cut = nvc_zns_cut,
	.wake = nvc_zns_wake,
	.parts = zns_parts,
	.thaw = nvc_zns_thaw,
};
