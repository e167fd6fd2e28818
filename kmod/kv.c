// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands of key value namespaces (Key Value command set 1.0). What they do the
 * core knows; here are their fields, and their data: values, which are copied
 * before anybody else enters the core, as their units may soon be another
 * value's, and Lists, by way of a buffer of the worker.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "compat.h"
#include "io.h"
#include "nvc_kv.h"

/* Double word 11: bytes of the key in bits 7:0, options in bits 15:8. */
#define NVL_KV_OPTION_SHIFT	8

/**
 * nvl_kv_report_size() - room for a List
 * @ctrl: a controller of a device with keys
 *
 * Return: bytes: of all keys that there may be, or the longest transfer if that is less.
 */
u32 nvl_kv_report_size(const struct nvl_ctrl *ctrl)
{
	const u32 each = ALIGN(NVC_KV_LIST_KEY + NVC_KV_MAX_KEY, sizeof(u32));
	struct nvc_kv_space space;

	nvc_kv_space(ctrl->subsys->core, NVL_FIRST_NSID, &space);
	return min_t(u64, NVC_KV_LIST_HEAD + (u64)space.max_keys * each, nvl_max_transfer(ctrl));
}

static bool nvl_kv_has_data(u8 opcode)
{
	return opcode == NVC_KV_STORE || opcode == NVC_KV_RETRIEVE || opcode == NVC_KV_LIST;
}

/**
 * nvl_kv_parse() - read a command for a key value namespace
 * @io: the command, its namespace and opcode read
 *
 * Return: status field. To a host that enabled the NVM command set alone the
 * namespace is inactive.
 */
u16 nvl_kv_parse(struct nvl_io *io)
{
	const struct nvme_common_command *c = &io->cmd->common;
	u32 cdw11 = le32_to_cpu(c->cdw11);
	u32 bytes = le32_to_cpu(c->cdw10);

	if (!nvl_ctrl_sets(io->w->ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	io->core.slba = get_unaligned_le64(c->cdw2);
	io->core.key = (u64)le32_to_cpu(c->cdw15) << 32 | le32_to_cpu(c->cdw14);
	io->core.action = cdw11;
	io->core.option = cdw11 >> NVL_KV_OPTION_SHIFT;
	io->core.nlb = 0;
	if (!nvl_kv_has_data(io->core.opcode))
		return 0;
	io->core.nlb = bytes;
	if (bytes > nvl_max_transfer(io->w->ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	return bytes ? nvl_io_map(io, bytes) : 0;
}

/* A fault: the byte of a value is stored inverted. */
static void nvl_kv_corrupt(struct nvl_io *io, u32 at)
{
	struct nvl_subsys *subsys = io->w->ctrl->subsys;
	struct nvc_kv_cursor value;
	u32 one = 1;
	u32 bytes;
	u64 place;
	u8 *byte;

	nvc_kv_begin(subsys->core, &io->core, &value);
	while ((bytes = nvc_kv_next(subsys->core, &value, &place))) {
		if (at < bytes) {
			byte = nvl_store_at(subsys, place + at, &one);
			*byte = ~*byte;
			return;
		}
		at -= bytes;
	}
}

/**
 * nvl_kv_decided() - what must be done of a command before others enter the core
 * @io: the command, of a key value namespace, the core still locked
 * @d: what the core said
 */
void nvl_kv_decided(struct nvl_io *io, const struct nvc_decision *d)
{
	struct nvl_worker *w = io->w;

	io->report = w->report;
	if (d->data == NVC_DATA_REPORT)
		io->filled = nvc_kv_list(w->ctrl->subsys->core, &io->core, w->report,
					 min(io->bytes, w->report_size));
	if (d->data != NVC_DATA_VALUE)
		return;
	io->bytes = nvl_io_value(io);
	io->moved = true;
	if (unlikely(d->fault & NVC_CORRUPT) && io->core.opcode == NVC_KV_STORE) {
		nvl_kv_corrupt(io, d->corrupt);
		io->corrupted = true;
	}
}
