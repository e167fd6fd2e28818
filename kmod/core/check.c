// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether a command can be carried out, and the status of one that cannot. */
#include "internal.h"

static bool known(u8 opcode)
{
	switch (opcode) {
	case NVC_FLUSH:
	case NVC_WRITE:
	case NVC_READ:
	case NVC_WRITE_UNCOR:
	case NVC_COMPARE:
	case NVC_WRITE_ZEROES:
	case NVC_DSM:
	case NVC_VERIFY:
	case NVC_COPY:
		return true;
	default:
		return false;
	}
}

static u16 check_blocks(const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	if (slba > ns->blocks || nlb > ns->blocks - slba)
		return NVC_SC_LBA_RANGE;
	return NVC_SC_SUCCESS;
}

static u16 check_ranges(const struct nvc_ns *ns, const struct nvc_range *ranges, u32 count)
{
	u16 status = NVC_SC_SUCCESS;
	u32 i;

	if (!ranges || !count || count > NVC_MAX_RANGES)
		return NVC_SC_INVALID_FIELD;
	for (i = 0; i < count && !status; i++)
		status = check_blocks(ns, ranges[i].slba, ranges[i].nlb);
	return status;
}

static bool damaged(const struct nvc *c, const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	bool bad;

	return ns->flags & NVC_NS_DAMAGED &&
	       (nvc_map_run(&c->bad, nvc_ns_bit(ns, slba), nlb, &bad) < nlb || bad);
}

static bool unwritten(const struct nvc *c, const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	bool written;

	return nvc_map_run(&c->written, nvc_ns_bit(ns, slba), nlb, &written) < nlb || !written;
}

/* Of blocks that are inside; called only where there may be something wrong. */
static u16 check_media(const struct nvc *c, const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	if (damaged(c, ns, slba, nlb))
		return NVC_SC_READ_ERROR;
	if (ns->flags & NVC_NS_DULBE && unwritten(c, ns, slba, nlb))
		return NVC_SC_DEALLOCATED;
	return NVC_SC_SUCCESS;
}

static u16 check_read(const struct nvc *c, const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	u16 status = check_blocks(ns, slba, nlb);

	return status || !ns->flags ? status : check_media(c, ns, slba, nlb);
}

static u16 check_source(const struct nvc *c, const struct nvc_ns *ns,
			const struct nvc_cmd *cmd, const struct nvc_range *source, u64 nlb)
{
	if (source->slba < cmd->slba + nlb && cmd->slba < source->slba + source->nlb)
		return NVC_SC_OVERLAP;
	return damaged(c, ns, source->slba, source->nlb) ? NVC_SC_READ_ERROR : NVC_SC_SUCCESS;
}

static u16 check_copy(const struct nvc *c, const struct nvc_ns *ns,
		      const struct nvc_cmd *cmd, const struct nvc_range *sources)
{
	u64 most = 1ULL << (NVC_COPY_SHIFT - ns->block_shift);
	u64 nlb = 0;
	u16 status;
	u32 i;

	if (!sources || !cmd->nlb)
		return NVC_SC_INVALID_FIELD;
	if (cmd->nlb > NVC_MAX_SOURCES)
		return NVC_SC_COPY_LIMIT;
	for (i = 0; i < cmd->nlb; i++) {
		if (!sources[i].nlb)
			return NVC_SC_INVALID_FIELD;
		nlb += sources[i].nlb;
	}
	if (nlb > most)
		return NVC_SC_COPY_LIMIT;
	status = check_ranges(ns, sources, cmd->nlb) ?: check_blocks(ns, cmd->slba, nlb);
	for (i = 0; i < cmd->nlb && !status; i++)
		status = check_source(c, ns, cmd, &sources[i], nlb);
	return status;
}

static u16 check_arguments(const struct nvc *c, const struct nvc_ns *ns,
			   const struct nvc_cmd *cmd, const struct nvc_range *ranges)
{
	if (cmd->opcode == NVC_FLUSH)
		return NVC_SC_SUCCESS;
	if (cmd->opcode == NVC_DSM)
		return check_ranges(ns, ranges, cmd->nlb);
	if (cmd->opcode == NVC_COPY)
		return check_copy(c, ns, cmd, ranges);
	if (!cmd->nlb || cmd->nlb > NVC_MAX_BLOCKS)
		return NVC_SC_INVALID_FIELD;
	if (cmd->opcode == NVC_READ || cmd->opcode == NVC_COMPARE || cmd->opcode == NVC_VERIFY)
		return check_read(c, ns, cmd->slba, cmd->nlb);
	return check_blocks(ns, cmd->slba, cmd->nlb);
}

bool nvc_changes(const struct nvc_cmd *cmd)
{
	switch (cmd->opcode) {
	case NVC_WRITE:
	case NVC_WRITE_UNCOR:
	case NVC_WRITE_ZEROES:
	case NVC_COPY:
		return true;
	case NVC_DSM:
		return cmd->flags & NVC_DEALLOCATE;
	default:
		return false;
	}
}

u16 nvc_check_cmd(const struct nvc *c, const struct nvc_cmd *cmd,
		  const struct nvc_range *ranges)
{
	const struct nvc_ns *ns;

	if (!known(cmd->opcode))
		return NVC_SC_INVALID_OPCODE;
	if (cmd->opcode == NVC_FLUSH && cmd->nsid == NVC_ALL_NS)
		return NVC_SC_SUCCESS;
	if (!cmd->nsid || cmd->nsid > NVC_MAX_NS)
		return NVC_SC_INVALID_NS;
	ns = &c->ns[cmd->nsid - 1];
	if (cmd->ctrl >= 32 || !(ns->attached >> cmd->ctrl & 1))
		return NVC_SC_INVALID_FIELD;
	if (ns->flags & NVC_NS_PROTECTED && nvc_changes(cmd))
		return NVC_SC_WRITE_PROTECTED;
	return check_arguments(c, ns, cmd, ranges);
}
