// SPDX-License-Identifier: GPL-2.0-or-later
/* What a valid command does to the medium and the counters. */
#include "internal.h"
#include "nvc_zns.h"

static void repair(struct nvc *c, const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	if (ns->flags & NVC_NS_DAMAGED)
		nvc_map_clear(&c->bad, nvc_extent(ns, slba, nlb));
}

static u16 write_blocks(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns)
{
	c->counters.writes += cmd->opcode == NVC_WRITE;
	c->counters.appends += cmd->opcode == NVC_ZONE_APPEND;
	c->counters.blocks_written += cmd->nlb;
	c->counters.bytes_written += (u64)cmd->nlb << ns->block_shift;
	repair(c, ns, cmd->slba, cmd->nlb);
	return nvc_map_set(&c->written, nvc_extent(ns, cmd->slba, cmd->nlb)) ?
	       NVC_DATA_COPY : NVC_DATA_FRESH;
}

static void forget(struct nvc *c, const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	repair(c, ns, slba, nlb);
	nvc_map_clear(&c->written, nvc_extent(ns, slba, nlb));
}

static u16 zero_blocks(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns)
{
	c->counters.zeroes++;
	c->counters.blocks_zeroed += cmd->nlb;
	forget(c, ns, cmd->slba, cmd->nlb);
	return NVC_DATA_NONE;
}

static u16 deallocate(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		      const struct nvc_range *ranges)
{
	u32 i;

	c->counters.dsms++;
	/* of zones only a reset deallocates: the standard leaves it to the controller */
	if (!(cmd->flags & NVC_DEALLOCATE) || ns->flags & NVC_NS_ZONED)
		return NVC_DATA_NONE;
	for (i = 0; i < cmd->nlb; i++) {
		c->counters.blocks_deallocated += ranges[i].nlb;
		forget(c, ns, ranges[i].slba, ranges[i].nlb);
	}
	return NVC_DATA_NONE;
}

static u16 damage(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_ns *ns)
{
	c->counters.uncorrectables++;
	ns->flags |= NVC_NS_DAMAGED;
	nvc_map_set(&c->bad, nvc_extent(ns, cmd->slba, cmd->nlb));
	return NVC_DATA_NONE;
}

/*
 * Blocks that read as zeros are copied by noting it. Sources and destination
 * have nothing in common. Returns whether the others had data before.
 */
static bool copy_extent(struct nvc *c, struct nvc_extent from, struct nvc_extent to)
{
	bool before = true;
	bool written;

	while (from.count) {
		to.count = nvc_map_run(&c->written, from, &written);
		if (written)
			before &= nvc_map_set(&c->written, to);
		else
			nvc_map_clear(&c->written, to);
		from.first += to.count;
		from.count -= to.count;
		to.first += to.count;
	}
	return before;
}

static u16 copy_blocks(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		       const struct nvc_range *ranges)
{
	u64 to = cmd->slba;
	bool before = true;
	u32 i;

	c->counters.copies++;
	for (i = 0; i < cmd->nlb; i++) {
		before &= copy_extent(c, nvc_extent(ns, ranges[i].slba, ranges[i].nlb),
				      nvc_extent(ns, to, 0));
		to += ranges[i].nlb;
	}
	c->counters.blocks_copied += to - cmd->slba;
	repair(c, ns, cmd->slba, to - cmd->slba);
	return before ? NVC_DATA_COPY : NVC_DATA_FRESH;
}

/* Returns enum nvc_data. */
u16 nvc_carry_out(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_ns *ns,
		  const struct nvc_range *ranges)
{
	if (c->config.kind == NVC_KV && cmd->opcode != NVC_FLUSH)
		return nvc_kv_carry_out(c, cmd);
	switch (cmd->opcode) {
	case NVC_READ:
		return nvc_note_read(c, cmd, nvc_extent(ns, cmd->slba, cmd->nlb));
	case NVC_WRITE:
	case NVC_ZONE_APPEND:
		return write_blocks(c, cmd, ns);
	case NVC_ZONE_SEND:
		c->counters.zone_sends++;
		return cmd->action == NVC_ZONE_SET_EXTENSION ? NVC_DATA_EXTENSION : NVC_DATA_NONE;
	case NVC_ZONE_RECEIVE:
		c->counters.zone_receives++;
		return NVC_DATA_REPORT;
	case NVC_COMPARE:
		c->counters.compares++;
		return nvc_read_data(c, nvc_extent(ns, cmd->slba, cmd->nlb));
	case NVC_VERIFY:
		c->counters.verifies++;
		c->counters.bytes_read += (u64)cmd->nlb << ns->block_shift;
		return NVC_DATA_NONE;
	case NVC_WRITE_ZEROES:
		return zero_blocks(c, cmd, ns);
	case NVC_WRITE_UNCOR:
		return damage(c, cmd, ns);
	case NVC_DSM:
		return deallocate(c, cmd, ns, ranges);
	case NVC_IO_SEND:
		c->counters.io_sends++;
		return NVC_DATA_NONE;
	case NVC_IO_RECEIVE:
		c->counters.io_receives++;
		return cmd->action ? NVC_DATA_REPORT : NVC_DATA_NONE;
	case NVC_COPY:
		return copy_blocks(c, cmd, ns, ranges);
	default:
		c->counters.flushes++;
		return NVC_DATA_NONE;
	}
}
