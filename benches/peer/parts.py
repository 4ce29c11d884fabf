"""The parts of a training step alone in PyTorch, as `benches/peer/parts.rs` has them."""

import torch
import torch.nn.functional as F

from measured import Stopwatch, repeat, resident_bytes


def attention(work, steps):
    """Causal attention of one layer, forward and backward, on queries, keys and values as their projections leave them."""
    before = resident_bytes()
    shape = (work.batch, work.seq, work.heads, work.hidden // work.heads)
    inputs = [torch.randn(shape, requires_grad=True) for _ in range(3)]

    def repetition():
        watch = Stopwatch()
        queries, keys, values = (x.transpose(1, 2) for x in inputs)
        out = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        total = out.transpose(1, 2).sum()
        watch.lap("forward")
        total.backward()
        watch.lap("backward")
        times = watch.finish()
        for x in inputs:
            x.grad = None
        return times

    return repeat(repetition, steps, before, 0)


def loss(work, steps):
    """The head's product and the cross entropy of its logits, with the gradients of both inputs."""
    before = resident_bytes()
    tokens = work.batch * work.seq
    hidden = torch.randn(tokens, work.hidden, requires_grad=True)
    head = (0.02 * torch.randn(work.vocab, work.hidden)).requires_grad_()
    labels = torch.arange(tokens) * 7919 % work.vocab

    def repetition():
        watch = Stopwatch()
        value = F.cross_entropy(F.linear(hidden, head), labels)
        watch.lap("forward")
        value.backward()
        watch.lap("backward")
        times = watch.finish()
        hidden.grad = head.grad = None
        return times

    return repeat(repetition, steps, before, 4 * head.numel())


def optimizer(work, steps, fused):
    """One step of dense AdamW with clipping over all parameters of the model; the gradients are there."""
    before = resident_bytes()
    parameters = list(work.model().parameters())
    adamw = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=fused or None)

    def repetition():
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 1e-3)
        watch = Stopwatch()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adamw.step()
        watch.lap("optimizer")
        return watch.finish()

    return repeat(repetition, steps, before, 4 * sum(p.numel() for p in parameters))


def selection(work, steps):
    """The norms of all gradients, read back, and the places of the largest 5 % over all of them."""
    before = resident_bytes()
    gradients = [torch.randn(p.numel()) for p in work.model().parameters()]
    entries = sum(g.numel() for g in gradients)

    def repetition():
        watch = Stopwatch()
        torch.stack([g.norm() for g in gradients]).tolist()
        torch.topk(torch.cat(gradients).abs_(), entries * 5 // 100, sorted=False).indices
        watch.lap("optimizer")
        return watch.finish()

    return repeat(repetition, steps, before, 4 * entries)
