import { markup, type Html } from "./html.ts"

export interface Product {
  readonly id: string
  readonly name: string
  readonly description: string
  /** Whole euros. */
  readonly price: number
  readonly picture: Html
}

const hanger = markup`<path d="M100 44V36c0-5 8-6 8-12a8 8 0 0 0-16 0" class="line"/>`

export const products: readonly Product[] = [
  {
    id: "trench",
    name: "Trench coat",
    description: "Cotton gabardine, storm flap, and a belt to knot and never buckle.",
    price: 340,
    picture: picture(markup`${hanger}
      <path fill="#c9a26d" d="M74 46 50 58c-4 2-6 6-7 10l-9 70 22 4 6-44-6 84h88l-6-84 6 44 22-4-9-70c-1-4-3-8-7-10l-24-12-26 12z"/>
      <path fill="#b58c55" d="M74 46 66 72l34 36 34-36-8-26-26 14zM58 112h84v11H58z"/>
      <path fill="#e8cfa4" d="m82 43-6 3-2 22 26 30 26-30-2-22-6-3-18 20z"/>
      <path fill="#8c6737" d="M93 110h14v15H93zM99 125h3v57h-3zM84 136h6v6h-6zM110 136h6v6h-6zM84 156h6v6h-6zM110 156h6v6h-6z"/>`),
  },
  {
    id: "overcoat",
    name: "Overcoat",
    description: "Double-faced lambswool in midnight blue. Warm enough for a platform in January.",
    price: 420,
    picture: picture(markup`${hanger}
      <path fill="#33486b" d="M74 46 50 58c-4 2-6 6-7 10l-9 76 22 3 6-48-4 86h84l-4-86 6 48 22-3-9-76c-1-4-3-8-7-10l-24-12-26 12z"/>
      <path fill="#263754" d="M100 104h3v81h-3zM70 132h18v5H70zM112 132h18v5h-18z"/>
      <path fill="#4a628a" d="m80 44-8 6-4 30 10-2-3 8 25 22 25-22-3-8 10 2-4-30-8-6-20 34z"/>
      <path fill="#f2ead9" d="m86 44 14 26 14-26-14 7z"/>
      <path fill="none" stroke="#d9b36c" stroke-width="7" stroke-linecap="round" d="M109 116v0M109 134v0M109 152v0"/>`),
  },
  {
    id: "raincoat",
    name: "Raincoat",
    description: "Waxed, welded and hooded. Hang it far from the others until it has dripped.",
    price: 180,
    picture: picture(markup`${hanger}
      <path fill="#e3b23c" d="M72 52 50 62c-4 2-6 6-7 10l-8 64 23 4 5-42-3 78h80l-3-78 5 42 23-4-8-64c-1-4-3-8-7-10l-22-10z"/>
      <path fill="#f3cb62" d="M100 38c-20 0-31 12-30 30 6 12 18 20 30 20s24-8 30-20c1-18-10-30-30-30z"/>
      <path fill="#b4862a" d="M100 50c-12 0-19 8-18 18 4 7 11 11 18 11s14-4 18-11c1-10-6-18-18-18zM99 88h3v88h-3z"/>
      <path fill="#c9982f" d="M66 128h22v4H66zM112 128h22v4h-22z"/>
      <path fill="none" stroke="#6f5214" stroke-width="6" stroke-linecap="round" d="M107 104v0M107 124v0M107 144v0"/>`),
  },
  {
    id: "bowler",
    name: "Bowler hat",
    description: "Hard fur felt with a grosgrain band. Survives being sat upon, once.",
    price: 145,
    picture: picture(markup`<path fill="#3b3530" d="M56 124c-4-44 12-70 44-70s48 26 44 70z"/>
      <path fill="#544b43" d="M70 116c-3-34 8-54 27-56-12 8-18 28-16 56z"/>
      <path fill="#9b3d3a" d="M55 106h90v20H55z"/>
      <path fill="#7f2e2d" d="m128 102 14 6v16l-14 6z"/>
      <path fill="#2c2723" d="M26 118c-4 16 30 30 74 30s78-14 74-30c-8 8-34 12-74 12s-66-4-74-12z"/>`),
  },
  {
    id: "boater",
    name: "Straw boater",
    description: "Plaited wheat straw for garden parties, rivers, and the wrong kind of weather.",
    price: 95,
    picture: picture(markup`<path fill="#ecd08b" d="M58 76h84l5 50H53z"/>
      <ellipse cx="100" cy="76" rx="42" ry="11" fill="#f7e4b1"/>
      <path fill="#3f6b5c" d="M55.5 100c20 7 69 7 89 0l2.5 22c-24 7-70 7-94 0z"/>
      <path fill="#f2ead9" d="M55 108c20 7 70 7 90 0l.8 6c-22 7-70 7-91.6 0z"/>
      <path fill="#e0bf74" d="M22 128c0-8 14-12 32-13 24 9 68 9 92 0 18 1 32 5 32 13 0 11-34 19-78 19s-78-8-78-19z"/>`),
  },
  {
    id: "umbrella",
    name: "Umbrella",
    description: "Eight ribs of beech and one of optimism. Umbrellas left behind are sold in spring.",
    price: 68,
    picture: picture(markup`<path d="M100 34v116a13 13 0 0 0 26 0v-4" class="handle"/>
      <path fill="#8e3b46" d="M26 108c4-40 36-62 74-62s70 22 74 62c-9-9-22-9-30 0-8-9-20-9-27 0-7-9-27-9-34 0-7-9-19-9-27 0-8-9-21-9-30 0z"/>
      <path fill="#a9505b" d="M100 46c-24 4-40 26-44 62 8-9 20-9 27 0 2-32 8-54 17-62z"/>
      <path fill="#752d38" d="M100 46c24 4 40 26 44 62-8-9-20-9-27 0-2-32-8-54-17-62z"/>`),
  },
]

export function productById(id: string): Product | undefined {
  return products.find((product) => product.id === id)
}

function picture(shapes: Html): Html {
  return markup`<svg viewBox="0 0 200 200" aria-hidden="true">${shapes}</svg>`
}
