	.file	"<string>"
	.section	.rodata.cst4,"aM",@progbits,4
	.p2align	2, 0x0
.LCPI0_0:
	.long	0x2edbe6ff
.LCPI0_1:
	.long	0x58635fa9
.LCPI0_2:
	.long	0x7149f2ca
.LCPI0_3:
	.long	0x03aa2425
.LCPI0_4:
	.long	0x3f000000
	.section	.ltext,"axl",@progbits
	.globl	u
	.p2align	4
	.type	u,@function
u:
	pushq	%rbp
	movq	%rsp, %rbp
	pushq	%r15
	pushq	%r14
	pushq	%r13
	pushq	%r12
	pushq	%rbx
	andq	$-64, %rsp
	subq	$128, %rsp
	movq	%r8, 64(%rsp)
	movq	16(%rbp), %rax
	testq	%rax, %rax
	jle	.LBB0_1
	movq	%rdx, %r8
	movq	32(%rbp), %r10
	movq	24(%rbp), %r13
	vmovsd	48(%r9), %xmm8
	vmovsd	40(%r9), %xmm7
	vmovsd	32(%r9), %xmm6
	vmovsd	24(%r9), %xmm5
	vmovsd	16(%r9), %xmm4
	vmovsd	(%r9), %xmm2
	vmovsd	8(%r9), %xmm3
	vcvtsd2ss	%xmm1, %xmm1, %xmm1
	vbroadcastss	%xmm1, %zmm1
	vcvtsd2ss	%xmm2, %xmm2, %xmm2
	vbroadcastss	%xmm2, %zmm2
	vcvtsd2ss	%xmm3, %xmm3, %xmm3
	vbroadcastss	%xmm3, %zmm3
	vcvtsd2ss	%xmm4, %xmm4, %xmm4
	vbroadcastss	%xmm4, %zmm4
	vcvtsd2ss	%xmm5, %xmm5, %xmm5
	vbroadcastss	%xmm5, %zmm5
	vcvtsd2ss	%xmm6, %xmm6, %xmm6
	vbroadcastss	%xmm6, %zmm6
	vcvtsd2ss	%xmm7, %xmm7, %xmm7
	vbroadcastss	%xmm7, %zmm7
	vcvtsd2ss	%xmm0, %xmm0, %xmm9
	vcvtsd2ss	%xmm8, %xmm8, %xmm0
	vbroadcastss	%xmm0, %zmm0
	movabsq	$.LCPI0_0, %r9
	vcmpngeps	(%r9){1to16}, %zmm0, %k0
	vbroadcastss	%xmm9, %zmm9
	movabsq	$.LCPI0_1, %r9
	vcmpnleps	(%r9){1to16}, %zmm0, %k1
	korw	%k1, %k0, %k0
	leaq	-1(%r10), %r9
	leaq	-2(%r10), %rdx
	movq	%rdx, 56(%rsp)
	movl	%r9d, %edx
	andl	$7, %edx
	movq	%rdx, 40(%rsp)
	leaq	(,%r13,4), %r12
	leaq	(%r8,%r13,4), %r15
	movq	%r13, %rbx
	shlq	$5, %rbx
	andq	$-8, %r9
	negq	%r9
	vxorps	%xmm11, %xmm11, %xmm11
	xorl	%r14d, %r14d
	movabsq	$.LCPI0_2, %r10
	vbroadcastss	(%r10), %zmm13
	movabsq	$.LCPI0_3, %r10
	vbroadcastss	(%r10), %zmm14
	movabsq	$.LCPI0_4, %r10
	vbroadcastss	(%r10), %zmm15
	movq	%r8, %r10
	vxorps	%xmm12, %xmm12, %xmm12
	vxorps	%xmm10, %xmm10, %xmm10
	vxorps	%xmm8, %xmm8, %xmm8
	movq	%r8, 48(%rsp)
	.p2align	4
.LBB0_3:
	movq	%r13, %rdx
	vmovups	(%r8,%r14,4), %zmm16
	cmpq	$2, 32(%rbp)
	jl	.LBB0_10
	movl	$1, %r11d
	cmpq	$7, 56(%rsp)
	jb	.LBB0_8
	movq	%r15, %r13
	.p2align	4
.LBB0_6:
	vaddps	(%r13), %zmm16, %zmm16
	leaq	(%r13,%r12), %rax
	vaddps	(%r13,%r12), %zmm16, %zmm16
	vaddps	(%r12,%rax), %zmm16, %zmm16
	addq	%r12, %rax
	vaddps	(%r12,%rax), %zmm16, %zmm16
	addq	%r12, %rax
	vaddps	(%r12,%rax), %zmm16, %zmm16
	addq	%r12, %rax
	vaddps	(%r12,%rax), %zmm16, %zmm16
	addq	%r12, %rax
	vaddps	(%r12,%rax), %zmm16, %zmm16
	addq	%r12, %rax
	vaddps	(%r12,%rax), %zmm16, %zmm16
	addq	%rbx, %r13
	leaq	8(%r9,%r11), %rax
	addq	$8, %r11
	cmpq	$1, %rax
	jne	.LBB0_6
	cmpq	$0, 40(%rsp)
	movq	16(%rbp), %rax
	movq	48(%rsp), %r8
	je	.LBB0_10
.LBB0_8:
	imulq	%r12, %r11
	addq	%r10, %r11
	movq	40(%rsp), %r13
	.p2align	4
.LBB0_9:
	vaddps	(%r11), %zmm16, %zmm16
	addq	%r12, %r11
	decq	%r13
	jne	.LBB0_9
.LBB0_10:
	vmulps	%zmm16, %zmm1, %zmm16
	vmulps	%zmm16, %zmm16, %zmm18
	vmulps	(%rcx,%r14,4), %zmm2, %zmm17
	leaq	(%rcx,%r14,4), %r11
	vfmadd231ps	%zmm16, %zmm3, %zmm17
	movq	%rdx, %r13
	vmulps	(%r11,%rdx,4), %zmm4, %zmm19
	vfmadd231ps	%zmm18, %zmm5, %zmm19
	vmulps	%zmm17, %zmm6, %zmm20
	vmulps	%zmm20, %zmm9, %zmm20
	vmulps	%zmm19, %zmm7, %zmm21
	vcmpnleps	%zmm21, %zmm11, %k1
	vcmpnleps	%zmm13, %zmm21, %k2
	korw	%k2, %k1, %k1
	kortestw	%k0, %k1
	jne	.LBB0_12
	vmaxps	%zmm14, %zmm21, %zmm22
	vrsqrt14ps	%zmm22, %zmm22
	vmulps	%zmm22, %zmm21, %zmm23
	vfnmadd231ps	%zmm23, %zmm23, %zmm21
	vmulps	%zmm15, %zmm22, %zmm22
	vfmadd213ps	%zmm23, %zmm21, %zmm22
	vaddps	%zmm22, %zmm0, %zmm21
	vrcp14ps	%zmm21, %zmm22
	vmulps	%zmm22, %zmm20, %zmm23
	vfnmadd213ps	%zmm20, %zmm23, %zmm21
	vfmadd213ps	%zmm23, %zmm22, %zmm21
.LBB0_13:
	vmovups	(%rdi,%r14,4), %zmm20
	movq	64(%rsp), %rdx
	vmovups	(%rdx,%r14,4), %zmm22
	vaddps	%zmm18, %zmm12, %zmm12
	vmovups	%zmm17, (%r11)
	vmovups	%zmm19, (%r11,%r13,4)
	vcmpnltps	%zmm11, %zmm22, %k1
	vsubps	%zmm21, %zmm20, %zmm17 {%k1} {z}
	vmovups	%zmm17, (%rsi,%r14,4)
	vfmadd231ps	%zmm16, %zmm11, %zmm10
	vfmadd231ps	%zmm17, %zmm11, %zmm8
	addq	$16, %r14
	addq	$64, %r15
	addq	$64, %r10
	cmpq	%rax, %r14
	jl	.LBB0_3
	jmp	.LBB0_14
.LBB0_12:
	vsqrtps	%zmm21, %zmm21
	vaddps	%zmm21, %zmm0, %zmm21
	vdivps	%zmm21, %zmm20, %zmm21
	jmp	.LBB0_13
.LBB0_1:
	vxorps	%xmm8, %xmm8, %xmm8
	vxorps	%xmm10, %xmm10, %xmm10
	vxorps	%xmm12, %xmm12, %xmm12
.LBB0_14:
	movq	40(%rbp), %rax
	movl	$0, (%rax)
	vextractf64x4	$1, %zmm12, %ymm0
	vaddps	%ymm0, %ymm12, %ymm0
	vextractf128	$1, %ymm0, %xmm1
	vaddps	%xmm1, %xmm0, %xmm0
	vshufpd	$1, %xmm0, %xmm0, %xmm1
	vaddps	%xmm1, %xmm0, %xmm0
	vmovshdup	%xmm0, %xmm1
	vaddss	%xmm1, %xmm0, %xmm0
	vmovss	%xmm0, 4(%rax)
	vextractf64x4	$1, %zmm10, %ymm0
	vaddps	%ymm0, %ymm10, %ymm0
	vextractf128	$1, %ymm0, %xmm1
	vaddps	%xmm1, %xmm0, %xmm0
	vshufpd	$1, %xmm0, %xmm0, %xmm1
	vaddps	%xmm1, %xmm0, %xmm0
	vmovshdup	%xmm0, %xmm1
	vaddss	%xmm1, %xmm0, %xmm0
	vmovss	%xmm0, 8(%rax)
	vextractf64x4	$1, %zmm8, %ymm0
	vaddps	%ymm0, %ymm8, %ymm0
	vextractf128	$1, %ymm0, %xmm1
	vaddps	%xmm1, %xmm0, %xmm0
	vshufpd	$1, %xmm0, %xmm0, %xmm1
	vaddps	%xmm1, %xmm0, %xmm0
	vmovshdup	%xmm0, %xmm1
	vaddss	%xmm1, %xmm0, %xmm0
	vmovss	%xmm0, 12(%rax)
	vxorps	%xmm0, %xmm0, %xmm0
	leaq	-40(%rbp), %rsp
	popq	%rbx
	popq	%r12
	popq	%r13
	popq	%r14
	popq	%r15
	popq	%rbp
	vzeroupper
	retq
.Lfunc_end0:
	.size	u, .Lfunc_end0-u

	.section	".note.GNU-stack","",@progbits
