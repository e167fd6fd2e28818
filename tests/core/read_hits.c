// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads from all over a written drive, for their instructions to be counted:
 * the difference of two runs that differ in COUNT is that of the reads alone.
 *
 * usage: read_hits COUNT
 */
#include <stdlib.h>

#include "nvc_ssd.h"

#define BLOCKS 16384

int main(int argc, char **argv)
{
	struct nvc_config config = {
		.blocks = BLOCKS, .kind = NVC_SSD, .block_shift = 12, .vwc = 1,
		.timing = { .units = 1, .unit_shift = 12 },
	};
	struct nvc_cmd cmd = { .nsid = 1, .nlb = 1, .opcode = NVC_WRITE };
	struct nvc_decision decision;
	struct nvc *c;
	long count;

	if (argc != 2)
		return 1;
	nvc_model_default(&config.model);
	c = malloc(nvc_size(&config));
	if (!c || nvc_init(c, &config))
		return 1;
	for (cmd.slba = 0; cmd.slba < BLOCKS; cmd.slba++)
		nvc_submit(c, &cmd, NULL, &decision);
	cmd.opcode = NVC_READ;
	cmd.now = decision.target + 1000000000;
	for (count = atol(argv[1]); count; count--) {
		cmd.slba = (cmd.slba + 7919) % BLOCKS;
		cmd.now += 200000;
		nvc_submit(c, &cmd, NULL, &decision);
	}
	return 0;
}
