// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether a command can be carried out, and the status of one that cannot. */
#include "internal.h"
#include "nvc_fdp.h"

#define SET(opcode) (1ULL << (opcode))

/* Commands for a stretch of blocks, and those for something else; all are below 64. */
static const u64 of_blocks = SET(NVC_READ) | SET(NVC_WRITE) | SET(NVC_COMPARE) |
	SET(NVC_VERIFY) | SET(NVC_WRITE_ZEROES) | SET(NVC_WRITE_UNCOR);
static const u64 others = SET(NVC_FLUSH) | SET(NVC_DSM) | SET(NVC_COPY);

static bool within(u64 set, u8 opcode)
{
	return opcode < 64 && set >> opcode & 1;
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
	return ns->flags & NVC_NS_DAMAGED && nvc_map_all(&c->bad, nvc_extent(ns, slba, nlb));
}

static bool unwritten(const struct nvc *c, const struct nvc_ns *ns, u64 slba, u64 nlb)
{
	return nvc_map_all(&c->written, nvc_extent(ns, slba, nlb)) != 1;
}

bool nvc_changes(const struct nvc_cmd *cmd)
{
	switch (cmd->opcode) {
	case NVC_ZONE_APPEND:
	case NVC_ZONE_SEND:
	case NVC_KV_DELETE:
	case NVC_WRITE: /* and Store */
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

/* Of blocks that are inside, and are to be read. */
static noinline u16 check_media(const struct nvc *c, const struct nvc_ns *ns,
				const struct nvc_cmd *cmd)
{
	if (nvc_changes(cmd))
		return NVC_SC_SUCCESS;
	if (damaged(c, ns, cmd->slba, cmd->nlb))
		return NVC_SC_READ_ERROR;
	if (ns->flags & NVC_NS_DULBE && unwritten(c, ns, cmd->slba, cmd->nlb))
		return NVC_SC_DEALLOCATED;
	return NVC_SC_SUCCESS;
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

static u16 check_stretch(const struct nvc *c, const struct nvc_ns *ns, const struct nvc_cmd *cmd)
{
	u16 status = nvc_check_stretch(ns, cmd);

	return status || !ns->flags ? status : check_media(c, ns, cmd);
}

/* Of I/O Management: no operation, or the one on handles; each identifier is one's. */
static u16 check_management(const struct nvc *c, const struct nvc_cmd *cmd,
			    const struct nvc_range *ranges)
{
	u32 i;

	if (cmd->action > NVC_RUH_UPDATE)
		return NVC_SC_INVALID_FIELD;
	if (cmd->opcode == NVC_IO_RECEIVE || !cmd->action)
		return NVC_SC_SUCCESS;
	if (!ranges || !cmd->nlb || cmd->nlb > NVC_MAX_RANGES)
		return NVC_SC_INVALID_FIELD;
	for (i = 0; i < cmd->nlb; i++)
		if (ranges[i].slba >= c->config.model.fdp_handles)
			return NVC_SC_INVALID_FIELD;
	return NVC_SC_SUCCESS;
}

static noinline u16 check_other(const struct nvc *c, const struct nvc_ns *ns,
				const struct nvc_cmd *cmd, const struct nvc_range *ranges)
{
	if (cmd->opcode == NVC_DSM)
		return check_ranges(ns, ranges, cmd->nlb);
	if (cmd->opcode == NVC_IO_SEND || cmd->opcode == NVC_IO_RECEIVE)
		return check_management(c, cmd, ranges);
	return cmd->opcode == NVC_COPY ? check_copy(c, ns, cmd, ranges) : NVC_SC_SUCCESS;
}

/* An NSID that could be a namespace's, and is not, is inactive. */
static u16 check_nobody(const struct nvc_cmd *cmd)
{
	if (cmd->opcode == NVC_FLUSH && cmd->nsid == NVC_ALL_NS)
		return NVC_SC_SUCCESS;
	return cmd->nsid && cmd->nsid <= NVC_MAX_NS ? NVC_SC_INVALID_FIELD : NVC_SC_INVALID_NS;
}

/* Of commands that others than zoned namespaces do not have. */
static noinline bool zone_command(const struct nvc *c, const struct nvc_cmd *cmd,
				  const struct nvc_ns *ns)
{
	if (cmd->opcode != NVC_ZONE_APPEND && cmd->opcode != NVC_ZONE_SEND &&
	    cmd->opcode != NVC_ZONE_RECEIVE)
		return false;
	return ns ? ns->flags & NVC_NS_ZONED : c->config.kind == NVC_ZNS;
}

/* Of commands that others than SSDs with reclaim unit handles do not have. */
static noinline bool placement_command(const struct nvc *c, const struct nvc_cmd *cmd)
{
	return (cmd->opcode == NVC_IO_SEND || cmd->opcode == NVC_IO_RECEIVE) &&
	       c->config.kind == NVC_SSD && c->config.model.fdp_handles;
}

/* Whether the command is one of its namespace's command set. */
static inline bool known(const struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns)
{
	if (c->config.kind == NVC_KV)
		return nvc_kv_knows(cmd->opcode);
	return within(of_blocks | others, cmd->opcode) || zone_command(c, cmd, ns) ||
	       placement_command(c, cmd);
}

/* Of a namespace that is write-protected, or has zones or keys. */
static noinline u16 check_special(const struct nvc *c, const struct nvc_ns *ns,
				  const struct nvc_cmd *cmd, const struct nvc_range *ranges)
{
	u16 status;

	if (ns->flags & NVC_NS_KEYS)
		return nvc_kv_check(c, ns, cmd);
	if (ns->flags & NVC_NS_PROTECTED && nvc_changes(cmd))
		return NVC_SC_WRITE_PROTECTED;
	if (within(of_blocks, cmd->opcode))
		status = check_stretch(c, ns, cmd);
	else
		status = check_other(c, ns, cmd, ranges);
	if (status || !(ns->flags & NVC_NS_ZONED))
		return status;
	return nvc_zone_check(c, ns, cmd, ranges);
}

/* @ns is NULL if there is no such namespace, or all are meant. */
u16 nvc_check_cmd(const struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		  const struct nvc_range *ranges)
{
	if (!known(c, cmd, ns))
		return NVC_SC_INVALID_OPCODE;
	if (!ns)
		return check_nobody(cmd);
	if (!nvc_attached(ns, cmd))
		return NVC_SC_INVALID_FIELD;
	if (ns->flags & (NVC_NS_PROTECTED | NVC_NS_ZONED | NVC_NS_KEYS))
		return check_special(c, ns, cmd, ranges);
	if (within(of_blocks, cmd->opcode))
		return check_stretch(c, ns, cmd);
	return check_other(c, ns, cmd, ranges);
}
