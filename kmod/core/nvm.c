// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind nvm: a medium without NAND.
 *
 * The medium is cut into units of equal size, dealt in turn to a number of
 * servers that work at the same time. A command waits for the server of its
 * first unit, then for the fixed delay, then moves its units one after the
 * other, each for the time of a unit and each holding its server until then.
 * Write Zeroes and Dataset Management only note something: one unit, whatever
 * they cover.
 */
#include "internal.h"

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

/* Occupies @units units from number @unit on. Returns the end of the last. */
static u64 occupy(struct nvc *c, u64 unit, u64 units, u32 delay, u32 time)
{
	struct nvm *nvm = c->state;
	u32 servers = c->config.timing.units;
	u32 server = nvc_mod(unit, servers);
	u64 end = nvc_max(c->now, nvm->busy_until[server]) + delay;

	while (units--) {
		end = nvc_max(end, nvm->busy_until[server]) + time;
		nvm->busy_until[server] = end;
		if (++server == servers)
			server = 0;
	}
	return end;
}

static u64 nvm_read(struct nvc *c, u64 first, u64 last)
{
	const struct nvc_timing *t = &c->config.timing;

	return occupy(c, first, last - first + 1, t->read_delay, t->read_time);
}

static u64 nvm_change(struct nvc *c, u64 first, u64 last)
{
	const struct nvc_timing *t = &c->config.timing;
	struct nvm *nvm = c->state;
	u64 end = occupy(c, first, last - first + 1, t->write_delay, t->write_time);

	nvm->written_at = nvc_max(nvm->written_at, end);
	return end;
}

static u64 nvm_flush(struct nvc *c)
{
	struct nvm *nvm = c->state;

	return c->config.vwc ? nvc_max(c->now, nvm->written_at) : c->now;
}

static u64 nvm_target(struct nvc *c, const struct nvc_cmd *cmd,
		      const struct nvc_range *ranges)
{
	u32 shift = c->config.timing.unit_shift - c->config.block_shift;
	u64 first = cmd->slba >> shift;

	switch (cmd->opcode) {
	case NVC_READ:
		return nvm_read(c, first, (cmd->slba + cmd->nlb - 1) >> shift);
	case NVC_WRITE:
		return nvm_change(c, first, (cmd->slba + cmd->nlb - 1) >> shift);
	case NVC_WRITE_ZEROES:
		return nvm_change(c, first, first);
	case NVC_DSM:
		first = ranges[0].slba >> shift;
		return cmd->flags & NVC_DEALLOCATE ? nvm_change(c, first, first) : c->now;
	default:
		return nvm_flush(c);
	}
}

const struct nvc_media nvc_nvm = {
	.size = nvm_size,
	.init = nvm_reset,
	.reset = nvm_reset,
	.target = nvm_target,
};
