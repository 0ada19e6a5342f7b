"""Mistakes that a runtime may have: replacements in its C files, each found there just once."""

# SPDX-License-Identifier: MIT

MISTAKES: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    # Errors: masks and rounding
    "largest error taken before the saturation mask": (
        "loss.c",
        (
            ("    a += from;\n", "    a += from;\n    uint32_t max = wage_largest(e, count);\n"),
            ("    return wage_largest(e, count);\n}\n\nvoid wage_round", "    return max;\n}\n\n"
             "void wage_round"),
        ),
    ),
    "ReLU mask before the largest error": (
        "loss.c",
        (("if (code2(below->mask, from + i) & WAGE_SATURATED)",
          "if (code2(below->mask, from + i) != WAGE_OPEN)"),),
    ),
    "ReLU mask taken from a > 0": (
        "layer.c",
        (("!= WAGE_RELU || sum > 0;", "!= WAGE_RELU || wage_rne(sum, layer->shift) > 0;"),),
    ),
    "saturation from the largest sum that is not": (
        "layer.c",
        (("(int64_t)above > (int64_t)127", "(int64_t)above >= (int64_t)127"),),
    ),
    "saturation taken from a = 127": (
        "layer.c",
        (("(int64_t)above > (int64_t)127 << layer->shift",
          "wage_rne(above, layer->shift) >= 127"),),
    ),
    "signed saturation only above": (
        "layer.c",
        (("layer->activation == WAGE_SIGNED && sum < 0 ? -sum : sum", "sum"),),
    ),
    "error of closed units under the continual policy": (
        "loss.c", (("(a[i] <= low)", "(a[i] < low)"),),
    ),
    "error of saturated units under the continual policy": (
        "loss.c", (("| (a[i] == 127)) ? 0", ") ? 0"),),
    ),
    "largest output error of one sample": (
        "loss.c", (("wage_largest(w->logits, count)", "wage_largest(w->logits, w->classes)"),),
    ),
    "largest error of one sample": (
        "step.c",
        (("    int shift = max ?",
          "    max = wage_largest(w->wide, l->in_count);\n    int shift = max ?"),),
    ),
    "exponent of errors lost": ("step.c", (("    *x = y + shift - 7;", "    *x = y;"),)),
    # Output
    "label in the wrong unit": (
        "loss.c", (("(int32_t)1 << unit_shift(w);", "(int32_t)1 << 7;"),),
    ),
    "gain forgotten": ("loss.c", (("- 4 - w->config.gain_shift", "- 4"),)),
    "probabilities rounded down": ("loss.c", (("(e << 14) + sum / 2", "(e << 14)"),)),
    "threshold one too high": ("step.c", (("largest < w->config", "largest <= w->config"),)),
    # Numbers
    "logarithm rounded down": (
        "num.c", (("return k + ((uint64_t)m * m >= (uint64_t)1 << (2 * k + 1));", "return k;"),),
    ),
    "halves of sums rounded away from zero": (
        "num.h", (("(size + half - 1 + (size >> n & 1)) >> n", "(size + half) >> n"),),
    ),
    "random bits of the other half": (
        "num.h", (("(16 * (index & 1))", "(16 * (~index & 1))"),),
    ),
    # Weights in use
    "halves of weights rounded up": (
        "inner.c", (("w + below + odd", "w + below + 1"),),
    ),
    "alpha missing": ("blob.c", (("(uint8_t)(r[3] + (r[1]", "(uint8_t)((r[1]"),)),
    "limit of stored weights off by one": (
        "layer.c", (("((int32_t)1 << spare);", "((int32_t)1 << spare) + 1;"),),
    ),
    # Windows
    "last of equal sums in a pool": ("window.c", (("if (sum > best)", "if (sum >= best)"),)),
    "last of equal activations in a pool": (
        "max_pool.c", (("if (in[i] > in[best])", "if (in[i] >= in[best])"),),
    ),
    "error to all equal activations of a pool": (
        "max_pool.c",
        (("                    e[winner_at(l, in, &v, o)] += *d++;\n",
          "                {\n"
          "                    int8_t top = in[winner_at(l, in, &v, o)];\n"
          "                    for (int32_t ky = v.y0; ky < v.y1; ky++) {\n"
          "                        uint32_t i = wage_pixel(l, &v, ky) * l->in_c + o;\n"
          "                        for (int32_t kx = v.x0; kx < v.x1; kx++, i += l->in_c)\n"
          "                            if (in[i] == top)\n"
          "                                e[i] += *d;\n"
          "                    }\n"
          "                    d++;\n"
          "                }\n"),),
    ),
    "winner's row for its column": (
        "window.c",
        (("2 * y + (index >> 1), 2 * x + (index & 1)",
          "2 * y + (index & 1), 2 * x + (index >> 1)"),),
    ),
    "padding counted by a max pool": (
        "max_pool.c",
        (("wage_emit(l, i, in[winner_at(l, in, &v, o)], out);",
          "{\n"
          "                    int32_t top = in[winner_at(l, in, &v, o)];\n"
          "                    if (v.y1 - v.y0 < l->kernel_h || v.x1 - v.x0 < l->kernel_w)\n"
          "                        top = top < 0 ? 0 : top;\n"
          "                    wage_emit(l, i, top, out);\n"
          "                }"),),
    ),
    "padding above for that below": ("window.c", (("- l->pad_top;", "- l->pad_bottom;"),)),
    "stride ignored in a convolution's error": (
        "conv2d.c",
        (("            struct window v = wage_window_of(l, i, y, x);\n"
          "            uint32_t run = run_of(l, &v);\n"
          "            for (int32_t ky = v.y0; ky < v.y1; ky++) {\n"
          "                int32_t *to = e",
          "            struct wage_layer one = *l;\n"
          "            one.stride_h = one.stride_w = 1;\n"
          "            struct window v = wage_window_of(&one, i, y, x);\n"
          "            uint32_t run = run_of(l, &v);\n"
          "            for (int32_t ky = v.y0; ky < v.y1; ky++) {\n"
          "                int32_t *to = e"),),
    ),
    "average's factor off by one": (
        "average_pool.c", (("return acc * l->factor;", "return acc * (l->factor + 1);"),),
    ),
    "average's factor forgotten in its error": (
        "average_pool.c", (("(int32_t)d[o] * l->factor;", "(int32_t)d[o];"),),
    ),
    # Residual blocks
    "error of a skip dropped": (
        "step.c",
        (("        y = wage_join(&w->layers[l->joined], w->wide, count, y);", "        y += 0;"),),
    ),
    "scale of an add forgotten where it joins": (
        "add.c", (("add->held_x - add->shift", "add->held_x"),),
    ),
    "larger errors of a skip cut off": (
        "add.c", (("t - 16 < 31 ? t - 16 : 31;", "0;"),),
    ),
    "the skip of an add one layer off": (
        "step.c",
        (("unsigned source = k - layer->skip;", "unsigned source = k - layer->skip + 1;"),),
    ),
    # Updates
    "weights updated before their error is used": (
        "step.c",
        (("        if (k > w->frozen_count) { // with the weights as they were\n",
          "        learn_layer(w, k, n, d, here);\n"
          "        if (k > w->frozen_count) {\n"),
         ("        wage_tell(w, WAGE_PHASE_UPDATE);\n"
          "        learn_layer(w, k, n, d, here);\n", "")),
    ),
    "random numbers of the next weight": (
        "update.c", (("wage_fraction(rate->key, index)", "wage_fraction(rate->key, index + 1)"),),
    ),
    "random numbers of the next layer": (
        "step.c", (("wage_key(c->seed, w->step, 1 + k)", "wage_key(c->seed, w->step, 2 + k)"),),
    ),
    "negative steps rounded the other way": (
        "update.c",
        (("    uint32_t r = wage_fraction(rate->key, index);",
          "    uint32_t r = wage_fraction(rate->key, index) ^ (g < 0 ? 0xffffu : 0u);"),),
    ),
    "weights not clamped": (
        "update.c", (("wage_clamp(weight - step, -limit, limit)", "weight - step"),),
    ),
    "largest gradient of one output": (
        "step.c",
        (("wage_paper(w) || wage_batch(w) > 1 ? l->out_c : 1;", "w->batch > 1 ? l->out_c : 1;"),),
    ),
    "stored width forgotten": (
        "step.c", (("- c->lr_shift - (l->store_bits - 8),", "- c->lr_shift,"),),
    ),
    "the same half of a draw for both": (
        "turn.c", (("second, r >> 16);", "second, r & 0xffff);"),),
    ),
    "lr_factor ignored": ("update.c", (("if (rate->factor > 1) {", "if (0) {"),)),
    "momentum leaks to one side": (
        "update.c", (("wage_clamp(v - (v < 0 ? -leak : leak)", "wage_clamp(v - leak"),),
    ),
    "momentum does not leak": (
        "update.c", (("v - (v < 0 ? -leak : leak) + step", "v + step"),),
    ),
    "step of a bias twice as large": (
        "step.c", (("rate.n = 1 - l->weight_bits", "rate.n = 0 - l->weight_bits"),),
    ),
    "bias of the first sample": (
        "update.c", (("i < n * l->out_count", "i < l->out_count"),),
    ),
    # Samples
    "another choice of replayed samples": (
        "step.c", (("wage_draw(key, k - n + s)", "wage_draw(key, k - n + s + 1)"),),
    ),
    "winners of the first sample": (
        "window.c",
        (("    if (l->pool == 1)\n", "    i %= l->out_count;\n    if (l->pool == 1)\n"),),
    ),
}  # fmt: skip
