<?php
// The product pictures, drawn by hand as SVG on a 400 × 400 sheet: slug → [background, floor, drawing].
// `url(#s)` is a shade from left to right that every picture may lay over its shapes.
declare(strict_types=1);

$shadow = static fn (int $y, int $rx, int $x = 200): string => "<ellipse cx='$x' cy='$y' rx='$rx' ry='14' fill='#000' opacity='.14'/>";
/** A shape and the same shape again, shaded. */
$solid = static fn (string $d, string $fill): string => "<path d='$d' fill='$fill'/><path d='$d' fill='url(#s)'/>";
$line = static fn (string $d, string $stroke, float $width = 3, string $more = ''): string =>
    "<path d='$d' fill='none' stroke='$stroke' stroke-width='$width' stroke-linecap='round' stroke-linejoin='round' $more/>";
$repeat = static fn (int $n, callable $draw): string => implode('', array_map($draw, range(0, $n - 1)));
$speckle = static fn (int $x, int $y, int $w, int $h, string $fill): string => $repeat(36, static fn (int $i): string => sprintf(
    "<circle cx='%d' cy='%d' r='%.1f' fill='%s' opacity='.5'/>", $x + ($i * 61) % $w, $y + ($i * 37 + $i * $i * 7) % $h, 1 + $i % 3 * .5, $fill,
));

return [
    'morning-mug' => ['#e8ddd0', '#d8c9b6', $shadow(312, 95, 190)
        . $line('M255 190c55-8 60 75-4 70', '#c9b79f', 18)
        . $solid('M115 150h150v120c0 26-16 40-40 40h-70c-24 0-40-14-40-40z', '#f3ece0') . $speckle(122, 170, 136, 125, '#8a7358')
        . "<ellipse cx='190' cy='150' rx='75' ry='17' fill='#e0d3c0'/><ellipse cx='190' cy='153' rx='65' ry='12' fill='#5b3b28'/>"
        . $line('M165 120c-12-18 12-24 0-44M200 120c-12-18 12-24 0-44', '#fff', 5, "opacity='.7'")],
    'ramen-bowl' => ['#dfe3dc', '#cbd2c8', $shadow(304, 85)
        . $solid('M165 285h70l8 20h-86z', '#8fa090') . $solid('M75 180h250c-6 70-56 112-125 112S81 250 75 180z', '#a9b8a7') . $speckle(100, 200, 200, 70, '#5f7061')
        . "<ellipse cx='200' cy='180' rx='125' ry='26' fill='#93a392'/><ellipse cx='200' cy='184' rx='112' ry='19' fill='#e9d8ae'/>"
        . $line('M110 184c30-16 60 14 90-2s60-10 88 4M130 192c30-12 60 10 96-2', '#d0b878', 4)
        . "<circle cx='235' cy='181' r='13' fill='#fff'/><circle cx='235' cy='181' r='6' fill='#eea23c'/>" . $line('M262 172L345 105M254 168L330 98', '#7a4a2c', 6)],
    'dinner-plate' => ['#e9e2e4', '#d9cfd2', $shadow(318, 120)
        . "<circle cx='200' cy='195' r='128' fill='#f8f5f0'/><circle cx='200' cy='195' r='128' fill='url(#s)'/><circle cx='200' cy='195' r='124' fill='none' stroke='#b59f8a' stroke-width='3'/>"
        . "<circle cx='200' cy='195' r='88' fill='#f1ebe2'/><circle cx='200' cy='195' r='88' fill='none' stroke='#ddd3c6' stroke-width='2'/>" . $speckle(105, 120, 190, 150, '#a58d72')],
    'teapot-linde' => ['#dcd6c6', '#cbc3ae', $shadow(308, 105)
        . $line('M130 175c0-110 145-110 145-4', '#b98650', 13)
        . $solid('M285 205c45-4 40-48 66-56l8 10c-18 12-12 78-78 94z', '#f2eee6')
        . $solid('M200 158c78 0 106 46 100 92-4 34-30 56-100 56s-96-22-100-56c-6-46 22-92 100-92z', '#fbf9f4')
        . "<ellipse cx='200' cy='166' rx='52' ry='10' fill='#ece6da'/>" . $solid('M152 164c8-16 30-20 48-20s40 4 48 20c-20 8-76 8-96 0z', '#f5f1e8') . "<circle cx='200' cy='137' r='10' fill='#b98650'/>"],
    'glass-carafe' => ['#d9e4e6', '#c4d3d6', $shadow(330, 70)
        . "<path d='M172 90h56v56c0 30 38 60 38 110 0 46-20 74-66 74s-66-28-66-74c0-50 38-80 38-110z' fill='#fff' opacity='.55'/>"
        . "<path d='M141 222c36 10 82-8 118 2 5 12 7 22 7 32 0 46-20 74-66 74s-66-28-66-74c0-12 3-23 7-34z' fill='#8fbcc4' opacity='.6'/>"
        . $line('M172 90v56c0 30-38 60-38 110 0 46 20 74 66 74s66-28 66-74c0-50-38-80-38-110V90', '#7fa3aa', 3) . $line('M155 250c-4 24 4 44 18 56', '#fff', 6, "opacity='.8'")
        . $solid('M168 66h64l-5 34h-54z', '#c79a67')],
    'oak-board' => ['#e6dccb', '#d3c4a9', $shadow(336, 85)
        . $solid('M110 130q0-22 22-22h34V76q0-22 34-22t34 22v32h34q22 0 22 22v180q0 22-22 22H132q-22 0-22-22z', '#c4935a') . "<circle cx='200' cy='82' r='12' fill='#e6dccb'/>"
        . $line('M150 125c10 60-14 120 4 190M190 118c14 70-10 130 2 200M232 122c-12 50 18 110 0 196M264 130c-8 60 8 110 0 180', '#a87542', 2.5, "opacity='.7'")
        . $line('M126 150v160q0 8 8 8h132q8 0 8-8V150', '#9c6a39', 4, "opacity='.55'")],
    'chef-knife' => ['#d8dbe0', '#c3c8d0', "<g transform='rotate(-35 200 200)'>" . $shadow(236, 160)
        . $solid('M40 205C90 176 170 168 250 170v52c-80 6-150 2-210-17z', '#e4e8ec') . $line('M46 206c60 14 130 18 204 13', '#a9b2bb', 2)
        . $solid('M250 172h104q20 2 20 20v6q0 20-20 20H250z', '#6b442b') . "<circle cx='280' cy='195' r='5' fill='#d7c7a8'/><circle cx='315' cy='195' r='5' fill='#d7c7a8'/><circle cx='350' cy='195' r='5' fill='#d7c7a8'/></g>"],
    'enamel-kettle' => ['#dde5df', '#c7d3ca', $shadow(314, 105)
        . $line('M138 170C140 70 262 70 264 170', '#2c4a40', 12) . $line('M165 98h70', '#a9763f', 18)
        . $solid('M285 205l60-40 14 14-62 74z', '#37685a')
        . $solid('M122 180q78-28 156 0l28 112q2 20-20 20H114q-22 0-20-20z', '#3f7565') . "<ellipse cx='200' cy='178' rx='74' ry='14' fill='#2c5548'/>" . $solid('M150 172q50-26 100 0-50 12-100 0z', '#4b8675') . "<circle cx='200' cy='152' r='10' fill='#a9763f'/>"
        . $line('M124 222c-6 24-10 44-12 60', '#fff', 7, "opacity='.35'")],
    'linen-apron' => ['#e3dfd5', '#d0cabb', $shadow(345, 90)
        . $line('M150 130C150 40 250 40 250 130', '#8d8571', 8) . $line('M118 215H62M282 215h56', '#8d8571', 8)
        . $solid('M150 118h100c2 50 14 70 36 86l10 136H104l10-136c22-16 34-36 36-86z', '#b8ae97')
        . $line('M150 245h100v62q-50 12-100 0z', '#918870', 4) . $line('M128 230c-4 34-6 66-8 100M272 230c4 34 6 66 8 100', '#a39a83', 3)],
    'spice-jars' => ['#eadfce', '#d9c9b0', $shadow(318, 135)
        . $repeat(3, static fn (int $i): string => sprintf("<g transform='translate(%d 0)'>", 65 + $i * 95)
            . "<path d='M5 170q0-14 14-14h42q14 0 14 14v128q0 16-16 16H21q-16 0-16-16z' fill='#fff' opacity='.6'/>"
            . sprintf("<path d='M8 %d h64 v%d q0 12-14 12H22q-14 0-14-12z' fill='%s'/>", 200 + $i * 16, 98 - $i * 16, ['#c5532b', '#d9a02e', '#6f7f3a'][$i])
            . "<path d='M5 170q0-14 14-14h42q14 0 14 14v128q0 16-16 16H21q-16 0-16-16z' fill='url(#s)'/><rect x='2' y='124' width='76' height='34' rx='6' fill='#d3a871'/><rect x='20' y='232' width='40' height='36' rx='3' fill='#fffaf0'/><path d='M27 244h26M27 254h16' stroke='#8a7a60' stroke-width='3'/></g>")],
    'desk-lamp' => ['#dcdfe6', '#c6cbd6', $shadow(334, 85, 180)
        . "<path d='M258 168L190 334H360L318 150z' fill='#fff3c9' opacity='.55'/>"
        . $line('M180 322L130 215L225 105', '#2f3a52', 10) . $line('M225 105l42 34', '#2f3a52', 10)
        . $solid('M250 172l62-60q36 12 28 58-48 34-90 2z', '#40507a') . "<circle cx='130' cy='215' r='11' fill='#c98b2b'/><circle cx='225' cy='105' r='11' fill='#c98b2b'/>"
        . $solid('M110 334q0-22 70-22t70 22z', '#40507a')],
    'pendant-lamp' => ['#e6ded9', '#d3c7bf', "<path d='M90 232L30 400H370L310 232z' fill='#fff3c9' opacity='.5'/>"
        . $line('M200 0v112', '#3a2f2a', 4) . "<rect x='188' y='98' width='24' height='34' rx='5' fill='#c98b2b'/>"
        . $solid('M80 232c4-66 54-104 120-104s116 38 120 104z', '#a5482f') . "<ellipse cx='200' cy='232' rx='120' ry='18' fill='#fbf3e4'/><circle cx='200' cy='234' r='22' fill='#ffe7a0'/>"],
    'beeswax-candles' => ['#e9e0cb', '#d8caa9', $shadow(330, 120)
        . $repeat(4, static fn (int $i): string => sprintf("<g transform='translate(%d %d)'>", 92 + $i * 58, [30, 0, 44, 16][$i])
            . sprintf("<rect x='0' y='130' width='40' height='%d' rx='8' fill='#e2b04a'/><rect x='0' y='130' width='40' height='%1\$d' rx='8' fill='url(#s)'/>", 200 - [30, 0, 44, 16][$i])
            . "<path d='M20 130v-16' stroke='#4a3a24' stroke-width='3'/><path d='M20 62c16 24 14 48 0 54-14-6-16-30 0-54z' fill='#f5a93b'/><path d='M20 84c7 12 6 26 0 30-6-4-7-18 0-30z' fill='#fff1bf'/></g>")],
    'storm-lantern' => ['#d5dcdd', '#bfc9cb', $shadow(336, 75)
        . $line('M150 130C150 40 250 40 250 130', '#56646a', 6)
        . "<path d='M150 165c-26 44-14 84 0 112h100c14-28 26-68 0-112z' fill='#fff6d8' opacity='.85'/>" . "<path d='M200 186c24 32 20 66 0 78-20-12-24-46 0-78z' fill='#f5a93b'/><path d='M200 216c10 16 8 36 0 42-8-6-10-26 0-42z' fill='#fff1bf'/>"
        . $line('M150 165c-26 44-14 84 0 112M250 165c26 44 14 84 0 112', '#7b8b90', 4) . $line('M132 130v160M268 130v160', '#56646a', 8)
        . $solid('M140 165l16-40h88l16 40z', '#6d7d83') . $solid('M128 277h144l10 56H118z', '#6d7d83')],
    'dotted-notebook' => ['#e2dfe8', '#cec9d8', $shadow(338, 105)
        . $solid('M104 80q0-12 12-12h170q12 0 12 12v246q0 12-12 12H116q-12 0-12-12z', '#4a4468') . "<rect x='104' y='68' width='30' height='270' rx='10' fill='#37324f'/>"
        . "<rect x='164' y='112' width='104' height='60' rx='4' fill='#f6f1e4'/><path d='M178 134h76M178 150h48' stroke='#8d86a8' stroke-width='4'/>" . $line('M276 68v282l-9-12-9 12V68', '#c98b2b', 0) . "<path d='M262 66h12v292l-6-9-6 9z' fill='#c98b2b'/>"],
    'pencil-set' => ['#e8e2d2', '#d6cdb6', $shadow(318, 130)
        . $repeat(6, static fn (int $i): string => sprintf("<g transform='translate(%d 0) rotate(%d 20 300)'>", 66 + $i * 45, ($i - 3) * 3)
            . sprintf("<rect x='4' y='140' width='32' height='170' fill='%s'/><rect x='4' y='140' width='32' height='170' fill='url(#s)'/>", ['#2f5d50', '#c98b2b', '#a5482f', '#40507a', '#6f7f3a', '#4a4468'][$i])
            . "<path d='M4 140L20 84l16 56q-8-9-16 0-8-9-16 0z' fill='#e6c493'/><path d='M20 84l-6 21h12z' fill='#33302b'/><rect x='4' y='288' width='32' height='10' fill='#d8c27a'/></g>")],
    'gift-wrap' => ['#ead9d6', '#dac2bd', $shadow(322, 120)
        . $solid('M90 165h220v142q0 12-12 12H102q-12 0-12-12z', '#c1685a') . $solid('M78 128h244v44H78z', '#d27b6c')
        . $repeat(12, static fn (int $i): string => sprintf("<circle cx='%d' cy='%d' r='6' fill='#fbe9df' opacity='.7'/>", 112 + ($i % 6) * 36, 205 + intdiv($i, 6) * 52 + ($i % 2) * 22))
        . "<rect x='184' y='128' width='32' height='191' fill='#f6e7c8'/>" . $solid('M200 128c-70-8-84-76-40-72 30 4 36 44 40 72z', '#f6e7c8') . $solid('M200 128c70-8 84-76 40-72-30 4-36 44-40 72z', '#ecd9b2')],
    'letter-set' => ['#dbe3ea', '#c5d1dc', $shadow(306, 130)
        . "<rect x='110' y='90' width='180' height='180' rx='4' fill='#fffdf6'/><path d='M132 122h136M132 144h136M132 166h90' stroke='#b6c2cd' stroke-width='4'/>"
        . $solid('M70 180h260v112q0 10-10 10H80q-10 0-10-10z', '#f0e6d3') . $line('M72 184l128 80 128-80', '#cdbd9f', 4) . $line('M74 298l92-62M326 298l-92-62', '#dccfb6', 3) . "<circle cx='200' cy='262' r='20' fill='#a5482f'/><circle cx='200' cy='262' r='11' fill='none' stroke='#c9705a' stroke-width='3'/>"],
    'wall-calendar' => ['#e4e6dc', '#d0d4c4', $line('M200 40L150 82M200 40l50 42', '#7c6c50', 3) . "<circle cx='200' cy='40' r='6' fill='#55493a'/>" . $shadow(352, 90)
        . $solid('M104 84h192v256H104z', '#fdfbf3') . "<rect x='94' y='76' width='212' height='16' rx='6' fill='#b98650'/><rect x='124' y='112' width='152' height='72' fill='#2f5d50'/><path d='M124 184l48-46 34 28 26-18 44 36z' fill='#8fb09c'/><circle cx='246' cy='134' r='11' fill='#f2cf7a'/>"
        . $repeat(28, static fn (int $i): string => sprintf("<rect x='%d' y='%d' width='14' height='14' rx='3' fill='%s'/>", 124 + ($i % 7) * 23, 206 + intdiv($i, 7) * 30, $i === 16 ? '#a5482f' : '#dcd8c8'))],
    'wool-blanket' => ['#dedad6', '#cac4bd', $shadow(322, 130)
        . $solid('M80 250q0-20 20-20h200q20 0 20 20v50q0 20-20 20H100q-20 0-20-20z', '#8a5a44') . $solid('M76 190q0-20 20-20h208q20 0 20 20v38q0 20-20 20H96q-20 0-20-20z', '#b07a5a') . $solid('M84 132q0-20 20-20h192q20 0 20 20v36q0 20-20 20H104q-20 0-20-20z', '#d7b08c')
        . $repeat(11, static fn (int $i): string => sprintf("<path d='M%d 320l-4 26M%1\$d 320l4 26' stroke='#8a5a44' stroke-width='4' stroke-linecap='round'/>", 98 + $i * 20))
        . $line('M90 140h220M86 200h228M92 262h216', '#fff', 5, "opacity='.35' stroke-dasharray='2 12'")],
    'linen-cushion' => ['#dfe5e2', '#cad4cf', $shadow(328, 120)
        . $solid('M84 96c70 18 162 18 232 0 14 4 18 12 14 22-16 62-16 114 0 176 4 12-2 20-14 22-70-18-162-18-232 0-12-2-18-10-14-22 16-62 16-114 0-176-4-10 0-18 14-22z', '#7f9c93')
        . $line('M104 118c60 14 132 14 192 0-12 58-12 114 0 172-60-14-132-14-192 0 12-58 12-114 0-172z', '#a9c0b8', 3, "stroke-dasharray='8 7'") . $line('M170 205c20-16 40-16 60 0', '#66837a', 4)],
    'waffle-towel' => ['#dde6ee', '#c6d4e0', $line('M60 92h280', '#b98650', 12) . $shadow(350, 90)
        . $solid('M120 86h160v250q-80 12-160 0z', '#f4f6f6')
        . $repeat(9, static fn (int $i): string => sprintf("<path d='M122 %d h156' stroke='#c3d0d8' stroke-width='3'/>", 116 + $i * 24)) . $repeat(6, static fn (int $i): string => sprintf("<path d='M%d 90 v248' stroke='#c3d0d8' stroke-width='3'/>", 142 + $i * 23))
        . "<path d='M120 296h160v14H120z' fill='#6d93ad'/>"],
    'canvas-tote' => ['#e7e0d0', '#d5cab3', $shadow(340, 105)
        . $line('M150 160C146 40 254 40 250 160', '#a5845a', 13)
        . $solid('M104 146h192l16 178q0 16-16 16H104q-16 0-16-16z', '#efe5cd') . $line('M104 166h192', '#d6c7a4', 4, "stroke-dasharray='9 7'")
        . "<circle cx='200' cy='250' r='44' fill='none' stroke='#2f5d50' stroke-width='6'/><path d='M200 282v-50M200 262c-20 0-26-12-26-26 18 0 26 10 26 26zM200 250c18 0 24-12 24-24-16 0-24 8-24 24z' fill='#2f5d50' stroke='#2f5d50' stroke-width='4'/>"],
    'woven-rug' => ['#e5dcd5', '#d1c3b8', "<g transform='rotate(-8 200 205)'>" . $shadow(352, 110)
        . $solid('M100 70h200v270H100z', '#a5482f') . "<rect x='116' y='86' width='168' height='238' fill='none' stroke='#f0dcc0' stroke-width='5'/>"
        . $repeat(3, static fn (int $i): string => sprintf("<g transform='translate(200 %d)'><path d='M0-34L48 0 0 34-48 0z' fill='#e8c88f'/><path d='M0-20L28 0 0 20-28 0z' fill='#40507a'/></g>", 130 + $i * 75))
        . $repeat(14, static fn (int $i): string => sprintf("<path d='M%d 70v-16M%1\$d 340v16' stroke='#e6d5bb' stroke-width='4' stroke-linecap='round'/>", 106 + $i * 14.5)) . '</g>'],
];
