// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind nvm: a medium without NAND.
 *
 * The medium is cut into units of equal size, dealt in turn to a number of
 * servers that work at the same time. A command waits for the server of its
 * first unit, then for the fixed delay, then moves its units one after the
 * other, each for the time of a unit and each holding its server until then.
 * Write Zeroes, Write Uncorrectable and Dataset Management only note something:
 * one unit, whatever they cover.
 */
#include "snapshot.h"

/**
 * struct nvm - state of the kind
 * @written_at: when the latest change of the medium is done
 * @busy_until: for each server
 */
struct nvm {
	u64 written_at;
	u64 busy_until[NVC_MAX_UNITS];
};

static size_t nvm_size(const struct nvc_config *config)
{
	return sizeof(struct nvm);
}

static void nvm_reset(struct nvc *c)
{
	memset(c->state, 0, sizeof(struct nvm));
}

/* A stretch of units: the first, and how many. */
struct stretch {
	u64 unit;
	u64 units;
};

static struct stretch stretch_of(const struct nvc *c, const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	u64 first = ns->start + (slba << ns->block_shift);
	u64 last = first + (nlb << ns->block_shift) - 1;
	u32 shift = c->config.timing.unit_shift;

	return (struct stretch){ first >> shift, (last >> shift) - (first >> shift) + 1 };
}

/* Occupies units from @from on. Returns the end of the last. */
static u64 occupy(struct nvc *c, u64 from, struct stretch s, u32 delay, u32 time)
{
	struct nvm *nvm = c->state;
	u32 servers = c->config.timing.units;
	u32 server = nvc_mod(s.unit, servers);
	u64 end = nvc_max(from, nvm->busy_until[server]) + delay;

	while (s.units--) {
		end = nvc_max(end, nvm->busy_until[server]) + time;
		nvm->busy_until[server] = end;
		if (++server == servers)
			server = 0;
	}
	return end;
}

static u64 nvm_read(struct nvc *c, struct stretch s)
{
	const struct nvc_timing *t = &c->config.timing;

	return occupy(c, c->now, s, t->read_delay, t->read_time);
}

static u64 nvm_change(struct nvc *c, u64 from, struct stretch s)
{
	const struct nvc_timing *t = &c->config.timing;
	struct nvm *nvm = c->state;
	u64 end = occupy(c, from, s, t->write_delay, t->write_time);

	nvm->written_at = nvc_max(nvm->written_at, end);
	return end;
}

/* Reads all sources at once, then writes. */
static u64 nvm_copy(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		    const struct nvc_range *ranges)
{
	u64 end = c->now;
	u64 nlb = 0;
	u32 i;

	for (i = 0; i < cmd->nlb; i++) {
		end = nvc_max(end, nvm_read(c, stretch_of(c, ns, ranges[i].slba, ranges[i].nlb)));
		nlb += ranges[i].nlb;
	}
	return nvm_change(c, end, stretch_of(c, ns, cmd->slba, nlb));
}

static u64 nvm_flush(struct nvc *c, const struct nvc_cmd *cmd)
{
	struct nvm *nvm = c->state;

	return nvc_cached(c, cmd) ? nvc_max(c->now, nvm->written_at) : c->now;
}

static u64 nvm_target(struct nvc *c, const struct nvc_cmd *cmd,
		      const struct nvc_ns *ns, const struct nvc_range *ranges)
{
	switch (cmd->opcode) {
	case NVC_READ:
	case NVC_COMPARE:
	case NVC_VERIFY:
		return nvm_read(c, stretch_of(c, ns, cmd->slba, cmd->nlb));
	case NVC_WRITE:
		return nvm_change(c, c->now, stretch_of(c, ns, cmd->slba, cmd->nlb));
	case NVC_WRITE_ZEROES:
	case NVC_WRITE_UNCOR:
		return nvm_change(c, c->now, stretch_of(c, ns, cmd->slba, 1));
	case NVC_DSM:
		if (!(cmd->flags & NVC_DEALLOCATE))
			return c->now;
		return nvm_change(c, c->now, stretch_of(c, ns, ranges[0].slba, 1));
	case NVC_COPY:
		return nvm_copy(c, cmd, ns, ranges);
	default:
		return nvm_flush(c, cmd);
	}
}

static u32 nvm_parts(const struct nvc *c, struct nvc_part *parts)
{
	const struct nvm *nvm = c->state;

	parts[0] = nvc_part(nvm, nvm + 1);
	return 1;
}

static bool nvm_thaw(struct nvc *c)
{
	const struct nvm *nvm = c->state;
	u32 i;

	for (i = 0; i < NVC_MAX_UNITS; i++)
		if (!nvc_sound(nvm->busy_until[i]))
			return false;
	return nvc_sound(nvm->written_at);
}

const struct nvc_media nvc_nvm = {
	.size = nvm_size,
	.init = nvm_reset,
	.reset = nvm_reset,
	.target = nvm_target,
	.parts = nvm_parts,
	.thaw = nvm_thaw,
};
