/* The way to another address, for modules that the frame itself imports. */
export let navigate = () => {};

export function setNavigate(way) {
  navigate = way;
}
