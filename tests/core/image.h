/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots for the fuzz programs, written and read in pieces of any size. */
#ifndef IMAGE_H
#define IMAGE_H

#include "fuzz.h"
#include "nvc_ssd.h"

/* A device in memory of exactly its size that holds rubbish. */
static struct nvc *make_device(const struct nvc_config *config)
{
	struct nvc *c = malloc(nvc_size(config));

	CHECK(c);
	memset(c, 0xa5, nvc_size(config));
	CHECK(!nvc_init(c, config));
	return c;
}

static size_t piece_size(void)
{
	return below(4) ? 4096 : 1 + below(5000);
}

/* The image, in memory of exactly its size. */
static u8 *save_image(const struct nvc *c, struct nvc_snapshot *snapshot)
{
	u64 offset = 0;
	u8 *image;

	nvc_freeze(c, snapshot);
	image = malloc(snapshot->size);
	CHECK(image);
	while (offset < snapshot->size) {
		size_t bytes = nvc_min(piece_size(), snapshot->size - offset);

		nvc_save(c, offset, image + offset, bytes);
		offset += bytes;
	}
	return image;
}

/* Of a device that was just made. What nvc_thaw() says. */
static int load_image(struct nvc *c, const struct nvc_snapshot *snapshot, const u8 *image)
{
	u64 offset = 0;

	while (offset < snapshot->size) {
		size_t bytes = nvc_min(piece_size(), snapshot->size - offset);

		nvc_load(c, offset, image + offset, bytes);
		offset += bytes;
	}
	return nvc_thaw(c, snapshot);
}

#endif
