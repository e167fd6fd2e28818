// SPDX-License-Identifier: GPL-2.0-or-later
/* Host memory by PRP entries (NVMe 1.4, 4.3), checked before it is touched. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-direct.h>
#include <linux/ioport.h>
#include <linux/mm.h>

#include "nvlab.h"

/* PRPs of a command, one after the other. */
struct nvl_prp_walk {
	struct nvl_ctrl *ctrl;
	const __le64 *list;
	u32 index;
};

/*
 * Where host memory is in the direct map, up to the end of its page, or NULL.
 * Reserved is what is no RAM, and of RAM the zero page, that hosts write from,
 * and the kernel's own text and data, that nobody reads into.
 */
static void *nvl_ram(struct nvl_ctrl *ctrl, u64 dma, bool write)
{
	phys_addr_t phys = dma_to_phys(ctrl->bus->bridge, dma);
	unsigned long pfn = PHYS_PFN(phys);

	if (!pfn_valid(pfn))
		return NULL;
	if (PageReserved(pfn_to_page(pfn)) && (write || !page_is_ram(pfn)))
		return NULL;
	return phys_to_virt(phys);
}

/**
 * nvl_ram_range() - where host memory is in the direct map
 * @ctrl: the controller
 * @dma: an address as the host gives it
 * @len: bytes
 * @write: they are to be written to
 *
 * Return: the address, or NULL if any page is no RAM, or not to be written.
 */
void *nvl_ram_range(struct nvl_ctrl *ctrl, u64 dma, size_t len, bool write)
{
	u64 page;

	if (dma + len < dma)
		return NULL;
	for (page = dma & PAGE_MASK; page < dma + len; page += PAGE_SIZE)
		if (!nvl_ram(ctrl, page, write))
			return NULL;
	return nvl_ram(ctrl, dma, write);
}

/* Physically adjacent pages are adjacent in the direct map: copy them as one. */
static u16 nvl_segment_add(struct nvl_ctrl *ctrl, u64 dma, u32 len, bool write,
			   struct nvl_segment *segments, u32 *nr)
{
	struct nvl_segment *last = *nr ? &segments[*nr - 1] : NULL;
	u8 *addr = nvl_ram(ctrl, dma, write);

	if (!addr)
		return NVME_SC_DATA_XFER_ERROR | NVL_DNR;
	if (last && last->addr + last->len == addr)
		last->len += len;
	else
		segments[(*nr)++] = (struct nvl_segment){ addr, len };
	return 0;
}

static u16 nvl_prp_open(struct nvl_prp_walk *walk, u64 dma)
{
	if (dma & 7)
		return NVME_SC_PRP_INVALID_OFFSET | NVL_DNR;
	walk->list = nvl_ram(walk->ctrl, dma & PAGE_MASK, false);
	walk->index = offset_in_page(dma) / sizeof(__le64);
	return walk->list ? 0 : NVME_SC_DATA_XFER_ERROR | NVL_DNR;
}

/* The last entry of a full page of the list points to the next, if one is due. */
static u16 nvl_prp_next(struct nvl_prp_walk *walk, bool last, u64 *dma)
{
	u16 status;

	if (walk->index == PAGE_SIZE / sizeof(__le64) - 1 && !last) {
		u64 next = le64_to_cpu(READ_ONCE(walk->list[walk->index]));

		if (offset_in_page(next))
			return NVME_SC_PRP_INVALID_OFFSET | NVL_DNR;
		status = nvl_prp_open(walk, next);
		if (status)
			return status;
	}
	*dma = le64_to_cpu(READ_ONCE(walk->list[walk->index++]));
	return offset_in_page(*dma) ? NVME_SC_PRP_INVALID_OFFSET | NVL_DNR : 0;
}

static u16 nvl_prp_list(struct nvl_ctrl *ctrl, u64 prp2, u32 len, bool write,
			struct nvl_segment *segments, u32 *nr)
{
	struct nvl_prp_walk walk = { .ctrl = ctrl };
	u16 status = nvl_prp_open(&walk, prp2);
	u32 part;
	u64 dma;

	for (; !status && len; len -= part) {
		part = min_t(u32, len, PAGE_SIZE);
		status = nvl_prp_next(&walk, len <= PAGE_SIZE, &dma) ?:
			 nvl_segment_add(ctrl, dma, part, write, segments, nr);
	}
	return status;
}

/**
 * nvl_prp_map() - find the host memory of a command
 * @ctrl: the controller
 * @cmd: the command
 * @len: bytes, at least 1, up to NVL_MAX_TRANSFER
 * @write: they are to be written to
 * @segments: room for NVL_MAX_PAGES
 * @nr: how many were filled in
 *
 * Return: status field: success, PRP Offset Invalid, or Data Transfer Error.
 */
u16 nvl_prp_map(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 len, bool write,
		struct nvl_segment *segments, u32 *nr)
{
	u64 prp1 = le64_to_cpu(cmd->common.dptr.prp1);
	u64 prp2 = le64_to_cpu(cmd->common.dptr.prp2);
	u32 first = min_t(u32, len, PAGE_SIZE - offset_in_page(prp1));
	u16 status;

	*nr = 0;
	if (prp1 & 3)
		return NVME_SC_PRP_INVALID_OFFSET | NVL_DNR;
	status = nvl_segment_add(ctrl, prp1, first, write, segments, nr);
	len -= first;
	if (status || !len)
		return status;
	if (len > PAGE_SIZE)
		return nvl_prp_list(ctrl, prp2, len, write, segments, nr);
	if (offset_in_page(prp2))
		return NVME_SC_PRP_INVALID_OFFSET | NVL_DNR;
	return nvl_segment_add(ctrl, prp2, len, write, segments, nr);
}
