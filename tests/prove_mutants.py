"""Mistakes that the bounded proofs must refute: proof, file, right text, wrong text.

And the solver, where what is quick to prove the right text is slow to find the mistake.
"""

# SPDX-License-Identifier: MIT

MUTANTS = {
    "a clamp that lets more through": (
        "num-clamp", "runtime/num.h",
        "x > hi ? hi", "x > hi ? x",
    ),
    "the size of the least number": (
        "num-size", "runtime/num.h",
        "return x < 0 ? 0u - (uint32_t)x : (uint32_t)x;",
        "return (uint32_t)(x < 0 ? -x : x);",
    ),
    "a shift towards zero": (
        "num-floor_shift", "runtime/num.h",
        "return x >= 0 ? x >> n : ~(~x >> n);", "return x / ((int32_t)1 << n);",
    ),
    "halves away from zero": (
        "num-rne", "runtime/num.h",
        "half - 1 + (size >> n & 1)", "half",
    ),
    "a shift to the left of a negative number": (
        "num-rne_left", "runtime/num.h",
        "return x * (int32_t)((uint32_t)1 << -n);", "return x << -n;",
    ),
    "a fraction of more bits": (
        "num-draw", "runtime/num.h",
        "& 0xffff;", "& 0x1ffff;",
    ),
    "a shift of 32": (
        "num-stochastic_shift", "runtime/num.h",
        "n <= 47 ? n - 16 : 31", "n - 16",
    ),
    "a logarithm rounded down": (
        "num-ilog2_round", "runtime/num.c",
        "return k + ((uint64_t)m * m >= (uint64_t)1 << (2 * k + 1));", "return k;",
    ),
    "one too many": (
        "num-below", "runtime/num.c",
        "((uint64_t)bits * n) >> 32", "((uint64_t)bits * n + n) >> 32",
    ),
    "an entry behind the table": (
        "num-crc", "runtime/num.c",
        "wage_entry32(&table[crc & 15]);\n    }", "wage_entry32(&table[crc & 31]);\n    }",
        "--bitwuzla",
    ),
    "bytes swapped": (
        "num-load_store", "runtime/num.c",
        "return (uint16_t)(p[0] | ((uint16_t)p[1] << 8));",
        "return (uint16_t)(p[1] | ((uint16_t)p[0] << 8));",
    ),
    "a code beside its place": (
        "num-codes", "runtime/num.h",
        "(to[i >> 2] & ~(3u << at))", "(to[i >> 2] & ~(1u << at))",
    ),
    "a block that ends behind its frame": (
        "frames-unstuff", "runtime/wire.c",
        "code - 1u > count - from", "code > count",
    ),
    "a frame shorter than its CRC": (
        "frames-frame_decode", "runtime/wire.c",
        "bytes < WAGE_BODY_HEADER_BYTES + CRC_BYTES", "bytes < 1",
    ),
    "fields behind the body": (
        "frames-frame_decode_fields", "runtime/wire.c",
        "if (tail > body)", "if (tail > body + 8)",
    ),
    "a frame one longer than the buffer": (
        "frames-reader", "runtime/wire.c",
        "if (reader->used < reader->bytes)", "if (reader->used <= reader->bytes)",
    ),
    "a frame written behind its room": (
        "frames-frame_encode", "runtime/wire.c",
        "if (c->used < c->bytes)", "if (c->used <= c->bytes)",
    ),
    "a field that is not sent": (
        "frames-frame_encode", "runtime/wire.c",
        "i < message->fields; i++", "i + 1 < message->fields; i++",
    ),
    "a full block that is never closed": (
        "frames-stuff", "runtime/wire.c",
        "c->used - c->code == 255", "c->used - c->code == 256",
    ),
    "a stride of 0": (
        "blob-sliding_layer", "runtime/blob.c",
        "!l->stride_h || !l->stride_w", "!l->stride_h",
    ),
    "weights behind the blob": (
        "blob-plain_layer", "runtime/blob.c",
        "bytes > w->blob_bytes - at", "bytes > w->blob_bytes",
    ),
    "fewer weights than the shape needs": (
        "blob-plain_layer", "runtime/blob.c",
        "load32(r + 20) != weight_bytes(l)", "load32(r + 20) > weight_bytes(l)",
    ),
    "erase units of 0 bytes": (
        "slots-check_store", "runtime/persist.c",
        "|| store->erase_bytes < unit\n", "",
    ),
    "a checkpoint behind its slot": (
        "slots-look", "runtime/persist.c",
        "bytes > slot_bytes(store) - WAGE_STORE_HEADER_BYTES", "bytes > slot_bytes(store)",
    ),
    "another model's, because it is newer": (
        "slots-newest", "runtime/persist.c",
        "found.ours != best->ours\n                ? found.ours : ", "",
    ),
    "a generation after the last": (
        "slots-look", "runtime/persist.c",
        "\n        || h[2] == UINT32_MAX)", ")",
    ),
    "a save that gives up last what it has": (
        "slots-save_in_two", "runtime/persist.c",
        "while (error && (*slot + 1) % store->slots != kept);",
        "while (error && *slot != kept);",
    ),
    "erasing the newest ahead": (
        "slots-prepare", "runtime/persist.c",
        "w->next = (w->next + 1) % store->slots;", "",
    ),
    "restoring what was forgotten": (
        "slots-restore", "runtime/persist.c",
        "if (!best.ours || best.forgotten)", "if (!best.ours)",
    ),
    "going back to another model's": (
        "slots-load_learned", "runtime/persist.c",
        "found.generation == generation && found.ours &&",
        "found.generation == generation &&",
    ),
    "forgetting the newest first": (
        "slots-forget", "runtime/persist.c",
        "want.forgotten = what & NOTHING;",
        "want.forgotten = what & NOTHING;\n    if (what & NOTHING)\n"
        "        erase(store, kept, 0, 1);",
    ),
    "an input shorter than the model's": (
        "requests-sample", "firmware/src/requests.c",
        "if (bytes != w->input_bytes)", "if (bytes > w->input_bytes)",
    ),
    "a label of no class": (
        "requests-eval", "firmware/src/requests.c",
        "else if (label >= w->classes)", "else if (label > w->classes)",
    ),
    "a class that is none": (
        "requests-class", "firmware/src/requests.c",
        "    if (label >= w->classes)\n        return serve_refuse(s, WAGE_E_LABEL, w->classes, "
        "label);\n    uint8_t *to",
        "    if (label > w->classes)\n        return serve_refuse(s, WAGE_E_LABEL, w->classes, "
        "label);\n    uint8_t *to",
    ),
    "a row of the confusion too long": (
        "requests-class", "firmware/src/requests.c",
        "i < w->classes; i++", "i <= w->classes; i++",
    ),
    "a guard's input of any size": (
        "requests-guard", "firmware/src/requests.c",
        "if (unfit(s, label))\n        return WAGE_OK;\n    serve_phase(",
        "if (s->message.tail_bytes == 0)\n        return WAGE_OK;\n    serve_phase(",
    ),
    "a tag before the frame": (
        "requests-start", "firmware/src/keyed.c",
        "m->tail_bytes < AUTH_TAG_BYTES || ", "",
    ),
    "the last request again": (
        "requests-rollback", "firmware/src/keyed.c",
        "m->seq <= a->seq", "m->seq < a->seq",
    ),
    "a tag that is half checked": (
        "requests-save", "firmware/src/keyed.c",
        "differ |= (uint8_t)", "differ = (uint8_t)",
    ),
    "everybody before the first session": (
        "requests-reset", "firmware/src/serve.c",
        "s->session == 0\n                || ", "",
    ),
    "a slot of no store": (
        "requests-look", "firmware/src/requests.c",
        "if (!s->store)\n        return WAGE_E_STORE;\n    int error = wage_look",
        "int error = wage_look",
    ),
    "a class too many": (
        "requests-stats", "firmware/src/requests.c",
        "c < w->classes; c++", "c <= w->classes; c++",
    ),
    "an input whose frame has no room": (
        "requests-sense", "firmware/src/serve.c",
        "body = larger(body, WAGE_BODY_HEADER_BYTES + 4 * WAGE_SENSED_FIELDS\n"
        "                            + about->input_bytes);", "body += 0;",
    ),
    "a part as long as the rest": (
        "requests-pull", "firmware/src/requests.c",
        "all - at < WAGE_PULL_PART_BYTES\n", "all\n",
    ),
    "a layer too many": (
        "requests-probe", "firmware/src/requests.c",
        ">= s->model.layer_count", "> s->model.layer_count",
    ),
    "half a model used": (
        "requests-push", "firmware/src/requests.c",
        "if (done && done == model.bytes)", "if (done)",
    ),
    "two answers": (
        "requests-unknown", "firmware/src/serve.c",
        "return serve_refuse(s, WAGE_E_TYPE, type, 0);",
        "return serve_refuse(s, WAGE_E_TYPE, type, 0), WAGE_E_TYPE;",
    ),
    "a frame that goes on in error": (
        "requests-damaged", "firmware/src/serve.c",
        "if (got < 0) {", "if (got < -18) {",
    ),
    "frames behind the memory": (
        "requests-serve_open", "firmware/src/serve.c",
        "if (info.memory_bytes < frames)\n        return WAGE_E_ARENA;", "",
    ),
    "a unit that is not whole": (
        "state-flush", "runtime/state.c",
        "uint32_t count = (k->used + unit - 1) & ~(unit - 1);", "uint32_t count = k->used;",
    ),
}  # fmt: skip
