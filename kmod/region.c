// SPDX-License-Identifier: GPL-2.0-or-later
/* The reserved region: checks, claim, mapping. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>

#include "nvlab.h"

static int nvl_region_check_form(const struct nvl_place *place)
{
	if (!place->start || !place->size) {
		pr_err("%s is missing: say where the memory reserved by memmap= is\n",
		       place->start ? "memmap_size" : "memmap_start");
		return -EDESTADDRREQ;
	}
	if (!IS_ALIGNED(place->start | place->size, SZ_1M)) {
		pr_err("memmap_start=0x%llx and memmap_size=0x%llx must be multiples of 1 MiB\n",
		       place->start, place->size);
		return -EINVAL;
	}
	if (place->size < NVL_MIN_REGION) {
		pr_err("memmap_size=%lluM is too small: 1 MiB is for registers, so at least 2M\n",
		       place->size >> 20);
		return -ENOSPC;
	}
	return 0;
}

/* Firmware's map, with memmap= applied, is what the kernel itself goes by. */
static int nvl_region_check_place(const struct nvl_place *place)
{
	u64 last = place->start + place->size - 1;

	if (last < place->start || last > iomem_resource.end) {
		pr_err("0x%llx-0x%llx is beyond what this CPU can address\n",
		       place->start, last);
		return -ERANGE;
	}
	if (region_intersects(place->start, place->size, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) != REGION_DISJOINT) {
		pr_err("0x%llx-0x%llx is RAM that Linux uses: boot with memmap=%lluM$%lluM\n",
		       place->start, last, place->size >> 20, place->start >> 20);
		return -EFAULT;
	}
	if (region_intersects(place->start, place->size, IORESOURCE_MEM,
			      IORES_DESC_RESERVED) != REGION_INTERSECTS) {
		pr_err("0x%llx-0x%llx is not reserved memory: boot with memmap=%lluM$%lluM\n",
		       place->start, last, place->size >> 20, place->start >> 20);
		return -EADDRNOTAVAIL;
	}
	return 0;
}

static int nvl_region_claim(struct nvl_ctrl *ctrl)
{
	const struct nvl_place *place = ctrl->place;
	struct resource window = DEFINE_RES_MEM_NAMED(place->start, NVL_BAR_SIZE, "nvlab BAR0");
	struct nvl_region *r = &ctrl->region;

	r->store = request_mem_region(place->start + NVL_BAR_SIZE,
				      place->size - NVL_BAR_SIZE, "nvlab storage");
	if (!r->store)
		goto busy;
	/* not busy: the nvme driver claims the BAR in it */
	r->window = window;
	if (insert_resource(&iomem_resource, &r->window))
		goto release;
	return 0;

release:
	release_mem_region(r->store->start, resource_size(r->store));
busy:
	pr_err("0x%llx-0x%llx overlaps another device's memory\n", place->start,
	       place->start + place->size - 1);
	return -EADDRINUSE;
}

static void nvl_region_release(struct nvl_ctrl *ctrl)
{
	remove_resource(&ctrl->region.window);
	release_mem_region(ctrl->region.store->start,
			   resource_size(ctrl->region.store));
}

static int nvl_span_map(struct nvl_span *span, u64 start, u64 size)
{
	if (!size)
		return 0;
	span->addr = memremap(start, size, MEMREMAP_WB);
	if (!span->addr)
		return -ENOMEM;
	span->size = size;
	return 0;
}

static void nvl_span_unmap(struct nvl_span *span)
{
	if (span->addr)
		memunmap(span->addr);
	span->addr = NULL;
}

/*
 * Storage begins 1 MiB into the region. Mapped in one piece it would never be
 * congruent to 2 MiB, and would take 4 KiB page table entries.
 */
static int nvl_region_map_store(struct nvl_ctrl *ctrl)
{
	u64 start = ctrl->region.store->start;
	u64 size = resource_size(ctrl->region.store);
	u64 head = min(ALIGN(start, SZ_2M) - start, size);

	return nvl_span_map(&ctrl->region.head, start, head) ?:
	       nvl_span_map(&ctrl->region.tail, start + head, size - head);
}

/**
 * nvl_region_check() - whether a place is memory that a device may have
 * @place: the place
 *
 * Return: 0, -EDESTADDRREQ (missing), -EINVAL (odd), -ENOSPC (too small),
 * -ERANGE (beyond the CPU), -EFAULT (RAM), or -EADDRNOTAVAIL (not reserved).
 */
int nvl_region_check(const struct nvl_place *place)
{
	return nvl_region_check_form(place) ?: nvl_region_check_place(place);
}

/**
 * nvl_region_map() - claim and map the region of a controller
 * @ctrl: the controller, its place checked
 *
 * Return: 0, -EADDRINUSE (overlaps), or -ENOMEM.
 */
int nvl_region_map(struct nvl_ctrl *ctrl)
{
	int err;

	err = nvl_region_claim(ctrl);
	if (err)
		return err;
	err = -ENOMEM;
	/*
	 * Write-through, and before any driver is there: a mapping of ours that
	 * is write-back makes the driver's ioremap() fail, and one made after it
	 * would be uncached.
	 */
	ctrl->region.bar = memremap(ctrl->place->start, NVL_BAR_SIZE, MEMREMAP_WT);
	if (!ctrl->region.bar)
		goto release;
	err = nvl_region_map_store(ctrl);
	if (err)
		goto unmap;
	return 0;

unmap:
	nvl_span_unmap(&ctrl->region.tail);
	nvl_span_unmap(&ctrl->region.head);
	memunmap(ctrl->region.bar);
release:
	nvl_region_release(ctrl);
	return err;
}

/**
 * nvl_region_unmap() - undo nvl_region_map()
 * @ctrl: the controller
 */
void nvl_region_unmap(struct nvl_ctrl *ctrl)
{
	nvl_span_unmap(&ctrl->region.tail);
	nvl_span_unmap(&ctrl->region.head);
	memunmap(ctrl->region.bar);
	nvl_region_release(ctrl);
}

/**
 * nvl_region_at() - where a byte of storage is mapped
 * @ctrl: the controller
 * @offset: of the byte
 * @len: bytes wanted from there; cut to what is mapped in one piece
 *
 * Return: its address.
 */
u8 *nvl_region_at(struct nvl_ctrl *ctrl, u64 offset, u32 *len)
{
	const struct nvl_span *span = &ctrl->region.head;

	if (offset >= span->size) {
		offset -= span->size;
		span = &ctrl->region.tail;
	}
	*len = min_t(u64, *len, span->size - offset);
	return span->addr + offset;
}
