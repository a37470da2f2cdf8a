// The order of a directory's members: places that stay, and gaps that go.
import { assertEquals } from "@std/assert";
import { MemoryFs } from "../../../fs/mod.ts";
import { Order } from "../../../fs/memory/order.ts";
import { test } from "../../harness.ts";
import { Random } from "../../codec/vectors.ts";

const node = new MemoryFs().root;

/** Place of the first node behind a place, if it came no later than another one. */
function nextBehind(
  order: Order<object>,
  from: number,
  end: number,
): number | undefined {
  for (let at = order.indexBehind(from); at < order.size; at++) {
    const place = order.placeAt(at);
    if (place > end) return undefined;
    if (order.nodeAt(at) !== undefined) return place;
  }
  return undefined;
}

test("Order: goes on behind any place, whatever was removed", () => {
  const random = new Random(3);
  for (let round = 0; round < 20; round++) {
    const order = new Order();
    let places: number[] = [];
    for (let step = 0; step < 400; step++) {
      if (random.below(5) < 3 || places.length === 0) {
        places.push(order.add(node));
      } else {
        const place = random.pick(places);
        order.remove(place);
        places = places.filter((other) => other !== place);
      }
      const from = random.below(order.last + 2);
      const end = random.below(order.last + 2);
      const next = places.find((place) => place > from);
      const expected = next !== undefined && next <= end ? next : undefined;
      assertEquals(nextBehind(order, from, end), expected);
    }
    order.close();
    assertEquals(order.size, places.length);
    assertEquals(places.map((_, i) => order.placeAt(i)), places);
    assertEquals([...order].length, places.length);
  }
});

test("Order: holds nothing when all are removed, in whatever order", () => {
  const order = new Order();
  const places = Array.from({ length: 10_000 }, () => order.add(node));
  for (const place of places.slice(0, 4999)) order.remove(place);
  for (const place of places.slice(4999).reverse()) order.remove(place);
  assertEquals(order.size, 0);
});
