// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * I/O command sets (NVMe 2.0, 5.17.2.5 to 5.17.2.8), and what Identify tells of
 * the zoned one (Zoned Namespace command set 1.1, 4.1.5) and of that of keys (Key
 * Value command set 1.0, 4.1.5).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/sizes.h>

#include "compat.h"
#include "nvc_kv.h"
#include "nvc_zns.h"
#include "nvlab.h"

/* Of NVMe 2.0. */
#define NVL_CNS_CS_ACTIVE_LIST		0x07
#define NVL_CNS_CS_ALLOCATED_LIST	0x1a
#define NVL_CNS_CS_VECTORS		0x1c

/* Optional Zoned Command Support: reads across zones, random write areas. */
#define NVL_OZCS_READ_ACROSS		BIT(0)
#define NVL_OZCS_ZRWA			BIT(1)

/* Of random write areas, which came after 1.1; bit 0 of the last: explicit flushes. */
#define NVL_ID_ZNS_NUMZRWA		44
#define NVL_ID_ZNS_ZRWAFG		48
#define NVL_ID_ZNS_ZRWASZ		50
#define NVL_ID_ZNS_ZRWACAP		52

/* How values by keys are kept: there is one way. */
struct nvl_kv_format {
	__le16 key;		/* bytes of the longest */
	u8 reserved;
	u8 more;
	__le32 value;		/* bytes of the largest */
	__le32 keys;		/* that there may be */
	__le32 reserved2;
};

struct nvl_id_ns_kv {
	__le64 nsze;		/* bytes */
	__le64 reserved;
	__le64 nuse;
	u8 nsfeat;
	u8 nkvf;		/* formats, one less */
	u8 nmic;
	u8 rescap;
	u8 fpi;
	u8 reserved2[3];
	__le32 novg;		/* bytes that values had best be multiples of */
	__le32 anagrpid;
	u8 reserved3[3];
	u8 nsattr;
	__le16 nvmsetid;
	__le16 endgid;
	u8 nguid[16];
	u8 eui64[8];
	struct nvl_kv_format formats[16];
};

/*
 * The command sets of a device, a bit for each: the only combination there is. One
 * with keys has no namespace of the NVM command set, which hosts may enable all the
 * same.
 */
static u32 nvl_sets(const struct nvl_ctrl *ctrl)
{
	u32 other = ctrl->set->kind == NVC_ZNS ? BIT(NVME_CSI_ZNS) :
		    ctrl->set->kind == NVC_KV ? BIT(NVL_CSI_KV) : 0;

	return BIT(NVME_CSI_NVM) | other;
}

/**
 * nvl_has_set() - whether a device has a command set
 * @ctrl: the controller
 * @csi: its identifier, any number
 *
 * Return: true if so.
 */
bool nvl_has_set(const struct nvl_ctrl *ctrl, u8 csi)
{
	return csi < 32 && nvl_sets(ctrl) & BIT(csi);
}

/**
 * nvl_set_of() - the command set of a namespace
 * @ctrl: the controller
 * @nsid: the namespace, which exists
 *
 * Return: its CSI.
 */
u8 nvl_set_of(const struct nvl_ctrl *ctrl, u32 nsid)
{
	const struct nvc_ns *ns = nvc_ns_get(ctrl->subsys->core, nsid);

	if (ns->flags & NVC_NS_KEYS)
		return NVL_CSI_KV;
	return ns->flags & NVC_NS_ZONED ? NVME_CSI_ZNS : NVME_CSI_NVM;
}

static void nvl_identify_zrwa(const struct nvc_zoned *zoned, struct nvme_id_ns_zns *id)
{
	u8 *at = (u8 *)id;

	if (!zoned->zrwa_zones)
		return;
	id->ozcs |= cpu_to_le16(NVL_OZCS_ZRWA);
	put_unaligned_le32(zoned->zrwa_zones, at + NVL_ID_ZNS_NUMZRWA);
	put_unaligned_le16(zoned->zrwa_flush, at + NVL_ID_ZNS_ZRWAFG);
	put_unaligned_le16(zoned->zrwa, at + NVL_ID_ZNS_ZRWASZ);
	at[NVL_ID_ZNS_ZRWACAP] = 1;
}

/* ZOC is 0: Linux takes no zones that change by themselves. */
static u16 nvl_identify_zoned_ns(const struct nvl_ctrl *ctrl, u32 nsid)
{
	const struct nvc_ns *ns = nvc_ns_get(ctrl->subsys->core, nsid);
	struct nvme_id_ns_zns *id = ctrl->page;
	struct nvc_zoned zoned;
	u64 bytes;

	if (!nvc_zoned(ctrl->subsys->core, nsid, &zoned))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	bytes = zoned.size << ns->block_shift;
	id->ozcs = cpu_to_le16(zoned.read_across ? NVL_OZCS_READ_ACROSS : 0);
	/* one less than the limit, and of none all ones */
	id->mar = cpu_to_le32(zoned.max_active - 1);
	id->mor = cpu_to_le32(zoned.max_open - 1);
	nvl_identify_zrwa(&zoned, id);
	/* in the order of nvl_fill_formats() */
	id->lbafe[0].zsze = cpu_to_le64(bytes / SZ_512);
	id->lbafe[1].zsze = cpu_to_le64(bytes / SZ_4K);
	id->lbafe[0].zdes = zoned.extension / NVC_ZONE_DESCRIPTOR;
	id->lbafe[1].zdes = id->lbafe[0].zdes;
	return 0;
}

static u8 nvl_ns_attributes(const struct nvc_ns *ns)
{
	return ns->flags & NVC_NS_PROTECTED ? 1 : 0;
}

/* A value that is larger than the longest transfer cannot be stored. */
static u16 nvl_identify_kv_ns(const struct nvl_ctrl *ctrl, u32 nsid)
{
	struct nvl_id_ns_kv *id = ctrl->page;
	struct nvc_kv_space space;
	bool keys;

	BUILD_BUG_ON(offsetof(struct nvl_id_ns_kv, formats) != 72);
	spin_lock(&ctrl->subsys->core_lock);
	keys = nvc_kv_space(ctrl->subsys->core, nsid, &space);
	spin_unlock(&ctrl->subsys->core_lock);
	if (!keys)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	id->nsze = cpu_to_le64(space.capacity);
	id->nuse = cpu_to_le64(space.used);
	id->nmic = ctrl->subsys->ns[nsid].shared;
	id->nsattr = nvl_ns_attributes(nvc_ns_get(ctrl->subsys->core, nsid));
	id->novg = cpu_to_le32(SZ_4K);
	nvl_ns_ids(ctrl, nsid, id->nguid, id->eui64);
	id->formats[0].key = cpu_to_le16(space.max_key);
	id->formats[0].value = cpu_to_le32(min(space.max_value, nvl_max_transfer(ctrl)));
	id->formats[0].keys = cpu_to_le32(space.max_keys);
	return 0;
}

/* Of NVMe 2.0: what all command sets have in common. Drivers want it of those they do not know. */
static u16 nvl_identify_any_ns(const struct nvl_ctrl *ctrl, u32 nsid)
{
	struct nvme_id_ns_cs_indep *id = ctrl->page;
	u16 status = nvl_ns_status(ctrl, nsid);

	if (status)
		return status;
	id->nmic = ctrl->subsys->ns[nsid].shared;
	id->nsattr = nvl_ns_attributes(nvc_ns_get(ctrl->subsys->core, nsid));
	id->nstat = NVME_NSTAT_NRDY;	/* ready, whatever its name says */
	return 0;
}

/* No command set has limits of its own, but the zoned one for Zone Append. */
static u16 nvl_identify_set_ctrl(const struct nvl_ctrl *ctrl, u8 csi)
{
	struct nvme_id_ctrl_zns *id = ctrl->page;
	struct nvc_zoned zoned;

	if (csi == NVME_CSI_ZNS && nvc_zoned(ctrl->subsys->core, NVL_FIRST_NSID, &zoned))
		id->zasl = min_t(u32, zoned.append_shift, ctrl->set->mdts);
	return 0;
}

static u16 nvl_identify_set_ns(const struct nvl_ctrl *ctrl, u32 nsid, u8 csi)
{
	u16 status = nvl_ns_status(ctrl, nsid);

	if (status)
		return status;
	if (csi == NVL_CSI_KV)
		return nvl_identify_kv_ns(ctrl, nsid);
	return csi == NVME_CSI_ZNS ? nvl_identify_zoned_ns(ctrl, nsid) : 0;
}

static u16 nvl_identify_vectors(const struct nvl_ctrl *ctrl, u16 id)
{
	if (id != 0xffff && (!id || id > ctrl->subsys->nr_ctrls))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	put_unaligned_le64(nvl_sets(ctrl), ctrl->page);
	return 0;
}

/**
 * nvl_identify_list() - namespaces above one
 * @ctrl: the controller
 * @nsid: the one
 * @active: only those attached to the controller, else all
 * @sets: of which command sets, as bits
 *
 * Return: status field.
 */
u16 nvl_identify_list(const struct nvl_ctrl *ctrl, u32 nsid, bool active, u32 sets)
{
	__le32 *list = ctrl->page;

	if (nsid >= 0xfffffffe)
		return NVME_SC_INVALID_NS | NVL_DNR;
	while (nsid++ < NVC_MAX_NS) {
		if (active ? nvl_ns_status(ctrl, nsid) : !nvc_ns_get(ctrl->subsys->core, nsid))
			continue;
		if (sets >> nvl_set_of(ctrl, nsid) & 1)
			*list++ = cpu_to_le32(nsid);
	}
	return 0;
}

/**
 * nvl_identify_set() - Identify, of what a command set adds
 * @ctrl: the controller
 * @c: the command; the answer goes to @ctrl->page, which is zeroed
 *
 * Return: status field.
 */
u16 nvl_identify_set(const struct nvl_ctrl *ctrl, const struct nvme_identify *c)
{
	u32 nsid = le32_to_cpu(c->nsid);

	/* not of a command set, and some hosts say nothing of one */
	if (c->cns == NVL_CNS_CS_VECTORS && !c->csi)
		return nvl_identify_vectors(ctrl, le16_to_cpu(c->ctrlid));
	if (c->cns == NVME_ID_CNS_NS_CS_INDEP)
		return nvl_identify_any_ns(ctrl, nsid);
	if (!nvl_has_set(ctrl, c->csi))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	switch (c->cns) {
	case NVME_ID_CNS_CS_NS:
		return nvl_identify_set_ns(ctrl, nsid, c->csi);
	case NVME_ID_CNS_CS_CTRL:
		return nvl_identify_set_ctrl(ctrl, c->csi);
	case NVL_CNS_CS_ACTIVE_LIST:
		return nvl_identify_list(ctrl, nsid, true, BIT(c->csi));
	case NVL_CNS_CS_ALLOCATED_LIST:
		return nvl_identify_list(ctrl, nsid, false, BIT(c->csi));
	default:
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	}
}
