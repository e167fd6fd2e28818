// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pool: reserved memory that devices without a place of their own get one
 * in. /sys/kernel/config/nvlab/pool says it in the words of memmap=.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "nvlab.h"

#define NVL_POOL_MAX	8

/* A stretch of memory. */
struct nvl_stretch {
	u64 start;
	u64 size;
};

static DEFINE_MUTEX(nvl_pool_lock);
static struct nvl_stretch nvl_pool[NVL_POOL_MAX];
static unsigned int nvl_pool_nr;
static LIST_HEAD(nvl_places);

/* From @start on, what no device has, up to @end. */
static u64 nvl_pool_gap(u64 start, u64 end)
{
	const struct nvl_place *place;

	list_for_each_entry(place, &nvl_places, node)
		if (start < place->start + place->size)
			end = min(end, max(place->start, start));
	return end > start ? end - start : 0;
}

/* Where the next device after @start ends, or @end. */
static u64 nvl_pool_next(u64 start, u64 end)
{
	const struct nvl_place *place;

	list_for_each_entry(place, &nvl_places, node)
		if (place->start + place->size > start)
			end = min(end, place->start + place->size);
	return end;
}

/* The first gap of @size at least. */
static int nvl_pool_find(u64 size, u64 *start)
{
	unsigned int i;

	for (i = 0; i < nvl_pool_nr; i++) {
		u64 end = nvl_pool[i].start + nvl_pool[i].size;

		for (*start = nvl_pool[i].start; *start < end; *start = nvl_pool_next(*start, end))
			if (nvl_pool_gap(*start, end) >= size)
				return 0;
	}
	pr_err("the pool has no %lluM in one piece\n", size >> 20);
	return -ENOSPC;
}

static int nvl_place_check(const struct nvl_place *place)
{
	u64 last = place->start + place->size - 1;

	if (nvl_pool_gap(place->start, last + 1) == place->size)
		return 0;
	pr_err("0x%llx-0x%llx overlaps another device's memory\n", place->start, last);
	return -EADDRINUSE;
}

/**
 * nvl_reserve_take() - find a place for a device, and check it
 * @device: the device, locked; its place is filled in
 *
 * Return: 0, -ENOSPC (the pool is used up), -EADDRINUSE (overlaps), or as
 * nvl_region_check().
 */
int nvl_reserve_take(struct nvl_device *device)
{
	const struct nvl_settings *set = &device->set;
	struct nvl_place *place = &device->place;
	int err = 0;

	place->start = set->start;
	place->size = set->size;
	place->bars = set->controllers;
	mutex_lock(&nvl_pool_lock);
	if (!set->start && set->size && nvl_pool_nr)
		err = nvl_pool_find(ALIGN(set->size, SZ_1M), &place->start);
	err = err ?: nvl_region_check(place) ?: nvl_place_check(place);
	if (!err)
		list_add(&place->node, &nvl_places);
	mutex_unlock(&nvl_pool_lock);
	return err;
}

/**
 * nvl_reserve_give() - undo nvl_reserve_take()
 * @device: the device, locked
 */
void nvl_reserve_give(struct nvl_device *device)
{
	mutex_lock(&nvl_pool_lock);
	list_del(&device->place.node);
	mutex_unlock(&nvl_pool_lock);
}

/* "513M$5G" */
static int nvl_pool_parse(char *word, struct nvl_stretch *stretch)
{
	char *start = strchr(word, '$');
	struct nvl_place place = { .bars = 1 };
	int err;

	if (!start)
		return -EINVAL;
	*start++ = '\0';
	err = nvl_parse_size("pool", word, &place.size) ?:
	      nvl_parse_size("pool", start, &place.start) ?: nvl_region_check(&place);
	*stretch = (struct nvl_stretch){ place.start, place.size };
	return err;
}

static int nvl_pool_parse_all(char *text)
{
	struct nvl_stretch pool[NVL_POOL_MAX];
	unsigned int nr = 0;
	char *word;
	int err;

	while ((word = strsep(&text, ",\n"))) {
		if (!*word)
			continue;
		if (nr == NVL_POOL_MAX)
			return -E2BIG;
		err = nvl_pool_parse(word, &pool[nr]);
		if (err)
			return err;
		nr++;
	}
	mutex_lock(&nvl_pool_lock);
	memcpy(nvl_pool, pool, nr * sizeof(*pool));
	nvl_pool_nr = nr;
	mutex_unlock(&nvl_pool_lock);
	return 0;
}

/**
 * nvl_reserve_set() - say what the pool is; devices that are on stay where they are
 * @text: such as "513M$5G,1G$8G"; empty for no pool
 *
 * Return: 0, -EINVAL, -E2BIG (too many), -ENOMEM, or as nvl_region_check().
 */
int nvl_reserve_set(const char *text)
{
	char *copy = kstrdup(text, GFP_KERNEL);
	int err;

	if (!copy)
		return -ENOMEM;
	err = nvl_pool_parse_all(copy);
	kfree(copy);
	return err;
}

/**
 * nvl_reserve_show() - what the pool is
 * @page: for a line
 *
 * Return: bytes.
 */
ssize_t nvl_reserve_show(char *page)
{
	ssize_t len = 0;
	unsigned int i;

	mutex_lock(&nvl_pool_lock);
	for (i = 0; i < nvl_pool_nr; i++)
		len += sysfs_emit_at(page, len, "%s%lluM$%lluM", i ? "," : "",
				     nvl_pool[i].size >> 20, nvl_pool[i].start >> 20);
	mutex_unlock(&nvl_pool_lock);
	return len + sysfs_emit_at(page, len, "\n");
}

/**
 * nvl_reserve_free() - what of the pool no device has
 * @page: for a line per piece, as in memmap=
 *
 * Return: bytes.
 */
ssize_t nvl_reserve_free(char *page)
{
	ssize_t len = 0;
	unsigned int i;
	u64 at, end;

	mutex_lock(&nvl_pool_lock);
	for (i = 0; i < nvl_pool_nr; i++) {
		end = nvl_pool[i].start + nvl_pool[i].size;
		for (at = nvl_pool[i].start; at < end; at = nvl_pool_next(at, end))
			if (nvl_pool_gap(at, end))
				len += sysfs_emit_at(page, len, "%lluM$%lluM\n",
						     nvl_pool_gap(at, end) >> 20, at >> 20);
	}
	mutex_unlock(&nvl_pool_lock);
	return len;
}
