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
	if (place->size <= place->bars * NVL_BAR_SIZE) {
		pr_err("memmap_size=%lluM is too small: %u MiB are for registers, so at least %uM\n",
		       place->size >> 20, place->bars, place->bars + 1);
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

static int nvl_found(struct resource *there, void *unused)
{
	return there->desc != IORES_DESC_RESERVED;
}

/* Whether somebody has a part of it, beside the reservation itself. */
static bool nvl_region_taken(u64 start, u64 size)
{
	if (walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_MEM, start, start + size - 1, NULL,
				nvl_found) <= 0)
		return false;
	pr_err("0x%llx-0x%llx overlaps another device's memory\n", start, start + size - 1);
	return true;
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
static int nvl_store_map_spans(struct nvl_store *store)
{
	u64 start = store->claim->start;
	u64 size = resource_size(store->claim);
	u64 head = min(ALIGN(start, SZ_2M) - start, size);

	return nvl_span_map(&store->head, start, head) ?:
	       nvl_span_map(&store->tail, start + head, size - head);
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
 * nvl_store_map() - claim and map the storage of a subsystem
 * @subsys: the subsystem, its place checked
 *
 * Return: 0, -EADDRINUSE (overlaps), or -ENOMEM; nvl_store_unmap() undoes either.
 */
int nvl_store_map(struct nvl_subsys *subsys)
{
	u64 start = subsys->place->start + subsys->place->size - subsys->capacity;
	struct nvl_store *store = &subsys->store;

	if (nvl_region_taken(start, subsys->capacity))
		return -EADDRINUSE;
	store->claim = request_mem_region(start, subsys->capacity, "nvlab storage");
	if (!store->claim)
		return -ENOMEM;
	return nvl_store_map_spans(store);
}

/**
 * nvl_store_unmap() - undo nvl_store_map()
 * @subsys: the subsystem
 */
void nvl_store_unmap(struct nvl_subsys *subsys)
{
	nvl_span_unmap(&subsys->store.tail);
	nvl_span_unmap(&subsys->store.head);
	if (subsys->store.claim)
		release_mem_region(subsys->store.claim->start, subsys->capacity);
	subsys->store.claim = NULL;
}

/**
 * nvl_store_at() - where a byte of storage is mapped
 * @subsys: the subsystem
 * @offset: of the byte
 * @len: bytes wanted from there; cut to what is mapped in one piece
 *
 * Return: its address.
 */
u8 *nvl_store_at(struct nvl_subsys *subsys, u64 offset, u32 *len)
{
	const struct nvl_span *span = &subsys->store.head;

	if (offset >= span->size) {
		offset -= span->size;
		span = &subsys->store.tail;
	}
	*len = min_t(u64, *len, span->size - offset);
	return span->addr + offset;
}

/**
 * nvl_bar_map() - claim and map the registers of a controller
 * @ctrl: the controller
 *
 * Return: 0, -EADDRINUSE (overlaps), or -ENOMEM.
 */
int nvl_bar_map(struct nvl_ctrl *ctrl)
{
	u64 start = ctrl->subsys->place->start + ctrl->index * NVL_BAR_SIZE;
	/* not busy: the nvme driver claims the BAR in it */
	struct resource window = DEFINE_RES_MEM_NAMED(start, NVL_BAR_SIZE, "nvlab BAR0");

	ctrl->window = window;
	if (nvl_region_taken(start, NVL_BAR_SIZE) ||
	    insert_resource(&iomem_resource, &ctrl->window))
		return -EADDRINUSE;
	/*
	 * Write-through, and before any driver is there: a mapping of ours that
	 * is write-back makes the driver's ioremap() fail, and one made after it
	 * would be uncached.
	 */
	ctrl->bar = memremap(start, NVL_BAR_SIZE, MEMREMAP_WT);
	if (ctrl->bar)
		return 0;
	remove_resource(&ctrl->window);
	return -ENOMEM;
}

/**
 * nvl_bar_unmap() - undo nvl_bar_map()
 * @ctrl: the controller
 */
void nvl_bar_unmap(struct nvl_ctrl *ctrl)
{
	memunmap(ctrl->bar);
	remove_resource(&ctrl->window);
}
