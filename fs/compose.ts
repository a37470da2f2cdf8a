// Trees that are made of other trees.

export { choose } from "./compose/choose.ts";
export { forUser } from "./compose/for_user.ts";
export { mount } from "./compose/mount.ts";
export { readonly } from "./compose/readonly.ts";
export { subtree } from "./compose/subtree.ts";
export { union } from "./compose/union.ts";
export { type TreeChanges, wrapTree } from "./compose/wrap.ts";
